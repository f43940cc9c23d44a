"""The reporter's texts in Russian: the keys and placeholders of objective/telegram/english.py, three forms of a noun."""

TEXTS = {
    # a study
    "study_started": (
        "▶️ <b>{study}</b>: готово {finished} из {wanted} {wanted:испытания|испытаний|испытаний}, "
        "бюджет испытания {budget} тыс. мел-кадров"
    ),
    "study_resumed": (
        "▶️ <b>{study}</b>: исследование возобновлено, готово {finished} из {wanted} {wanted:испытания|испытаний|испытаний}"
    ),
    "study_stopped": (
        "⏹ <b>{study}</b>: исследование остановлено, готово {finished} из {wanted} {wanted:испытания|испытаний|испытаний}"
    ),
    "study_done": (
        "🏁 <b>{study}</b>: исследование завершено, готово {finished} из {wanted} {wanted:испытания|испытаний|испытаний}"
    ),
    "stop_killed": "процесс был убит; чтобы продолжить, запустите ту же команду снова",
    "stop_interrupted": "прервано по Ctrl-C или сигналу; чтобы продолжить, запустите ту же команду снова",
    "stop_idle": "давно нет активных воркеров; чтобы продолжить, запустите команду исследования снова",
    "best": "лучшее: <b>испытание {number}</b>, {value}",
    "no_best": "успешных испытаний пока нет",
    "closest": "успешных испытаний пока нет; ближе всех <b>испытание {number}</b>",
    "use": "контрольная точка и конфигурация: {folder}\nначать с неё новое исследование:",
    # a finished trial
    "healthy": "✅ <b>испытание {number}: {value}</b>, успешное",
    "new_best": "⭐ <b>испытание {number}: {value}</b>, лучшее на данный момент",
    "sick": "⚠️ <b>испытание {number}: {value}</b>, проблемное",
    "pruned": "✂️ <b>испытание {number}</b> обрезано правилом {by}, последнее значение {value}",
    "rank": "место {rank} из {count}",
    "no_rank": "без места; успешных испытаний: {healthy} из {count}",
    "spent": "{kframes} из {budget} тыс. кадров за {time}",
    "differs": "отличия от испытания {number}, лучшего до него ({value}): {changes}",
    "same": "те же параметры, что у испытания {number}, лучшего до него ({value})",
    "params": "параметры: {params}",
    "said": "сказано: «{text}»",
    "heard": "услышано: «{heard}»",
    "heard_nothing": "не услышано ничего",
    "errors": "неверно услышано букв: {errors}, в записях {floor}",
    "faults": "дефекты в {share} из {count} {count:предложения|предложений|предложений}",
    "health": (
        "диагональность внимания {diagonality}, чтение {reading}, покрытие {coverage}, "
        "стоп-токен {gate}, норма градиента {norm}"
    ),
    "act": "→ {action}",
    "dead": "🚩 {count} {count:испытание|испытания|испытаний} подряд {count:обрезано|обрезаны|обрезано} на первом же отчёте",
    "pictures": "испытание {number}: внимание и кривые обучения",
    "sample": "испытание {number}: синтезированный образец",
    # any other trial
    "repair": "🔧 <b>испытание {number}</b> исправляет испытание {parent}: {changes}",
    "again": "↪️ <b>испытание {number}</b>: повторный запуск конфигурации испытания {parent}",
    "lost": "💥 <b>испытание {number}</b> потеряно: {why}; конфигурация будет запущена повторно",
    "given_up": "💥 <b>испытание {number}</b> потеряно: {why}; {given_up}",
    "failed": "✋ <b>испытание {number}</b> остановлено вручную; его конфигурация не будет запущена повторно",
    "flag": "🚩 <b>испытание {number}</b> в критическом состоянии: {evidence}",
    # the board
    "board": "<b>{study}</b>: готово {finished} из {wanted} {wanted:испытания|испытаний|испытаний}",
    "paused": "⏸ пауза: новые испытания не запускаются",
    "counts": "{healthy} {healthy:успешное|успешных|успешных}, {sick} {sick:проблемное|проблемных|проблемных}, "
    "{pruned} {pruned:обрезанное|обрезанных|обрезанных}",
    "saved": "ранняя остановка сэкономила {kframes} тыс. кадров ({share})",
    "eta": "осталось около {time}",
    "phase_stopped": "остановлено",
    "phase_done": "завершено",
    "running": "<b>испытание {number}</b>: {status}",
    "status_STABLE": "стабильно",
    "status_ATTENTION": "есть предупреждения",
    "status_CRITICAL": "критично",
    "progress": "{bar} {share}, ошибка на валидации {loss}",
    "measured": "диагональность внимания {diagonality}, покрытие {coverage}, стоп-токен {gate}",
    "spoken": "услышано неверно {errors}, дефекты {faults} на {kframes} тыс. кадров",
    "gradients": "норма градиента {norm} {trend}",
    "more": "и ещё {count}",
    # commands and their answers
    "help": (
        "<b>{study}</b>\n{commands}\n\n"
        "успешное: речь понятна, остальные целевые показатели тоже достигнуты\n"
        "проблемное: завершено, но какой-то показатель не достигнут\n"
        "обрезанное: досрочно остановлено правилом (pruning)\nтыс. кадров: тысячи мел-кадров обучения"
    ),
    "about_status": "ход исследования",
    "about_best": "лучшее испытание и его конфигурация",
    "about_trial": "результат испытания N",
    "about_curves": "внимание и кривые обучения испытания N",
    "about_listen": "синтезированный образец испытания N",
    "about_stop": "остановить испытание N насовсем",
    "about_pause": "не запускать новые испытания",
    "about_resume": "снова запускать испытания",
    "about_help": "команды и термины",
    "strangers": "без ответа {count:осталось|остались|осталось} {count} {count:сообщение|сообщения|сообщений} из других чатов",
    "other_study": "это кнопка другого исследования, сейчас бот следит за {study}",
    "need_number": "добавьте номер испытания, например {command} 12",
    "no_trial": "испытания {number} нет",
    "waits": "испытание {number} ждёт свободного воркера",
    "no_pictures": "у испытания {number} нет графиков",
    "no_sample": "у испытания {number} нет синтезированного образца",
    "stops": "испытание {number} остановится на следующем отчёте и не будет запущено повторно",
    "not_running": "испытание {number} сейчас не выполняется",
    "pauses": "новые испытания запускаться не будут, текущие продолжаются",
    "resumes": "новые испытания снова будут запускаться",
    "check": "✅ tacotune может писать в этот чат",
    "button_curves": "графики",
    "button_listen": "послушать",
    "button_stop": "остановить испытание {number}",
    "button_best": "лучшее",
    "button_pause": "пауза",
    "button_resume": "продолжить",
    # units of a duration
    "unit_s": "с",
    "unit_min": "мин",
    "unit_h": "ч",
    "unit_d": "д",
    # what to do about a diagnosis (Remedy.advice in objective/search/repair.py)
    "advice_exploded": "уменьшить learning_rate вдвое, clip_norm не больше 1",
    "advice_unaligned": "увеличить guided_weight вдвое; если он уже на границе, увеличить reduction или prenet_dropout",
    "advice_not_understood": (
        "увеличить drop_frame_rate на 0.2; если он уже на границе, увеличить guided_weight вдвое или reduction; "
        "или обучать на большем числе кадров"
    ),
    "advice_never_stops": "увеличить gate_positive_weight вдвое",
    "advice_stops_too_early": "уменьшить gate_positive_weight вдвое",
    "advice_overfitted": "увеличить dropout, weight_decay увеличить в 10 раз",
    "advice_too_slow": "увеличить learning_rate вдвое или удлинить разогрев (warm-up)",
    "advice_out_of_memory": "уменьшить batch_size или убрать из поиска часть крупных сетей",
    "advice_peers": "исправлять нечего: другие испытания лучше",
    "advice_unknown": "сравнить кривые обучения с порогами в настройках health",
}
