"""What the reporter says, in English and Russian. Why a trial was stopped is the study's own sentence in either language."""

from html import escape
from typing import Any

from objective.display.formatting import duration
from objective.search.repair import MOVES
from objective.search.stopping import ADVICE

EN = {
    "started": "▶️ <b>{study}</b> is watched: {finished} of {wanted} trials finished, {budget} kframes each",
    "resumed": "▶️ <b>{study}</b> goes on: {finished} of {wanted}",
    "stopped": "⏹ <b>{study}</b> stopped: {finished} of {wanted}",
    "done": "🏁 <b>{study}</b> is done: {finished} of {wanted}",
    "killed": "the command was killed; typed again it goes on",
    "interrupted": "somebody stopped it; typed again it goes on",
    "idle": "no worker has been seen for a while; the command typed again goes on",
    "best": "best: <b>trial {number}</b>, {value}",
    "no_best": "no trial is healthy yet",
    "use": "its voice and its whole configuration lie in {folder}; to go on from it:",
    "healthy": "✅ <b>trial {number}: {value}</b>, healthy",
    "new_best": "⭐ <b>trial {number}: {value}</b>, the best so far",
    "sick": "⚠️ <b>trial {number}: {value}</b>, sick",
    "pruned": "✂️ <b>trial {number}</b> was stopped by {by} at {value}",
    "rank": "rank {rank} of {count}",
    "no_rank": "no rank: it is not healthy, {healthy} of {count} are",
    "spent": "{kframes} of {budget} kframes in {time}",
    "differs": "against trial {number}, the best before ({value}): {changes}",
    "same": "against trial {number}, the best before ({value}): the same parameters",
    "params": "parameters: {params}",
    "health": "diagonality {diagonality}, alignment {alignment_score}, coverage {coverage}, gate {gate}, gradients {norm}",
    "act": "→ {action}",
    "dead": "🚩 {count} trials in a row were stopped at their first report: {action}",
    "repair": "🔧 <b>trial {number}</b> repairs trial {parent}: {changes}",
    "again": "↪️ <b>trial {number}</b> goes on with the point of trial {parent}",
    "lost": "💥 <b>trial {number}</b> is lost: {why}; its point comes again",
    "given_up": "💥 <b>trial {number}</b> is lost: {why}; {given_up}",
    "failed": "✋ <b>trial {number}</b> was ended from outside; its point does not come again",
    "flag": "🚩 <b>trial {number}</b> is critical: {evidence}",
    "pictures": "trial {number}: attention and curves",
    "sample": "trial {number}",
    "board": "<b>{study}</b>: {finished} of {wanted}",
    "paused": "⏸ paused: no further trial begins",
    "counts": "{healthy} healthy, {sick} sick, {pruned} pruned",
    "saved": "{kframes} kframes saved by pruning ({share})",
    "eta": "about {time} to go",
    "phase_stopped": "stopped",
    "phase_done": "done",
    "running": "<b>trial {number}</b> {status}",
    "progress": "{bar} {share}, loss {loss}",
    "measured": "diagonality {diagonality}, coverage {coverage}, gate {gate}",
    "gradients": "gradients {norm} {trend}",
    "more": "and {count} more",
    "help": (
        "<b>{study}</b>\n/status the board\n/best the best trial\n/trial N what became of it\n/curves N its pictures\n"
        "/listen N how it speaks\n/stop N ends it for good\n/pause no further trial begins\n/resume they begin again"
    ),
    "strangers": "{count} messages of other chats were ignored",
    "other_study": "this button is of another study, the bot reports {study} now",
    "need_number": "need the number of a trial, such as {command} 12",
    "no_trial": "there is no trial {number}",
    "waits": "trial {number} waits for a worker",
    "no_pictures": "trial {number} has no pictures",
    "no_sample": "trial {number} has no sample",
    "stops": "trial {number} ends at its next report and does not come again",
    "not_running": "trial {number} does not run",
    "pauses": "no further trial begins; those that run go on",
    "resumes": "trials begin again",
    "check": "✅ tacotune can write here",
    "button_curves": "curves",
    "button_listen": "listen",
    "button_stop": "stop trial {number}",
    "button_best": "best",
    "button_pause": "pause",
    "button_resume": "resume",
    "menu": "the board/the best trial/what became of a trial/its pictures/how it speaks/end it/no further trial/go on/commands",
}
RU = {
    "started": "▶️ <b>{study}</b> под наблюдением: готово {finished} из {wanted}, по {budget} тыс. кадров",
    "resumed": "▶️ <b>{study}</b> продолжается: {finished} из {wanted}",
    "stopped": "⏹ <b>{study}</b> остановлено: {finished} из {wanted}",
    "done": "🏁 <b>{study}</b> завершено: {finished} из {wanted}",
    "killed": "команда была убита; наберите её снова, и она продолжит",
    "interrupted": "остановлено вручную; наберите команду снова, и она продолжит",
    "idle": "давно не видно ни одного исполнителя; наберите команду снова, и она продолжит",
    "best": "лучшее: <b>испытание {number}</b>, {value}",
    "no_best": "здоровых испытаний пока нет",
    "use": "голос и вся его конфигурация лежат в {folder}; чтобы продолжить с него:",
    "healthy": "✅ <b>испытание {number}: {value}</b>, здоровое",
    "new_best": "⭐ <b>испытание {number}: {value}</b>, лучшее до сих пор",
    "sick": "⚠️ <b>испытание {number}: {value}</b>, больное",
    "pruned": "✂️ <b>испытание {number}</b> остановлено правилом {by} при {value}",
    "rank": "место {rank} из {count}",
    "no_rank": "без места: оно не здорово, здоровых {healthy} из {count}",
    "spent": "{kframes} из {budget} тыс. кадров за {time}",
    "differs": "против испытания {number}, лучшего до него ({value}): {changes}",
    "same": "против испытания {number}, лучшего до него ({value}): те же параметры",
    "params": "параметры: {params}",
    "health": "диагональность {diagonality}, порядок {alignment_score}, покрытие {coverage}, стоп {gate}, градиенты {norm}",
    "act": "→ {action}",
    "dead": "🚩 {count} испытания подряд остановлены на первом же отчёте: {action}",
    "repair": "🔧 <b>испытание {number}</b> чинит испытание {parent}: {changes}",
    "again": "↪️ <b>испытание {number}</b> продолжает точку испытания {parent}",
    "lost": "💥 <b>испытание {number}</b> потеряно: {why}; его точка придёт снова",
    "given_up": "💥 <b>испытание {number}</b> потеряно: {why}; {given_up}",
    "failed": "✋ <b>испытание {number}</b> остановлено извне; его точка больше не придёт",
    "flag": "🚩 <b>испытание {number}</b> в критическом состоянии: {evidence}",
    "pictures": "испытание {number}: внимание и кривые",
    "sample": "испытание {number}",
    "board": "<b>{study}</b>: {finished} из {wanted}",
    "paused": "⏸ пауза: новые испытания не начинаются",
    "counts": "здоровых {healthy}, больных {sick}, прервано {pruned}",
    "saved": "прерывание сберегло {kframes} тыс. кадров ({share})",
    "eta": "осталось около {time}",
    "phase_stopped": "остановлено",
    "phase_done": "завершено",
    "running": "<b>испытание {number}</b> {status}",
    "progress": "{bar} {share}, потеря {loss}",
    "measured": "диагональность {diagonality}, покрытие {coverage}, стоп {gate}",
    "gradients": "градиенты {norm} {trend}",
    "more": "и ещё {count}",
    "help": (
        "<b>{study}</b>\n/status доска\n/best лучшее испытание\n/trial N что с ним стало\n/curves N его графики\n"
        "/listen N как оно говорит\n/stop N остановить насовсем\n/pause новые не начинаются\n/resume начинаются снова"
    ),
    "strangers": "сообщений из чужих чатов, оставленных без ответа: {count}",
    "other_study": "это кнопка другого исследования, сейчас бот сообщает о {study}",
    "need_number": "нужен номер испытания, например {command} 12",
    "no_trial": "испытания {number} нет",
    "waits": "испытание {number} ждёт исполнителя",
    "no_pictures": "у испытания {number} нет графиков",
    "no_sample": "у испытания {number} нет записи",
    "stops": "испытание {number} закончится на следующем отчёте и больше не придёт",
    "not_running": "испытание {number} не идёт",
    "pauses": "новые испытания не начинаются; идущие продолжаются",
    "resumes": "испытания снова начинаются",
    "check": "✅ tacotune может сюда писать",
    "button_curves": "графики",
    "button_listen": "послушать",
    "button_stop": "остановить {number}",
    "button_best": "лучшее",
    "button_pause": "пауза",
    "button_resume": "продолжить",
    "menu": "доска/лучшее испытание/что стало с испытанием/его графики/как оно говорит/остановить его/пауза/продолжить/команды",
}
_UNITS = {" s": " с", " min": " мин", " h": " ч", " d": " д"}

# What to do about it, by the name of the repair that does the same by itself, or where none does by the rule.
_ACTIONS = {
    "exploded": ("halve the learning rate, with clip_norm 1 or less", "вдвое меньше скорость обучения, clip_norm не больше 1"),
    "unaligned": (
        "double the guided weight; at its bound raise the reduction or the prenet's dropout",
        "вдвое больше guided_weight; на границе увеличить reduction или prenet_dropout",
    ),
    "never_stops": ("double gate_positive_weight", "вдвое больше gate_positive_weight"),
    "stops_too_early": ("halve gate_positive_weight", "вдвое меньше gate_positive_weight"),
    "overfitted": ("more dropout, ten times the weight decay", "больше dropout, в десять раз больше weight_decay"),
    "too_slow": ("double the learning rate, or a longer warm-up", "вдвое больше скорость обучения или длиннее разогрев"),
    "out_of_memory": (
        ADVICE["out_of_memory"],
        "меньше training.batch_size или меньше крупных сетей в пространстве",
    ),
    "peers": ("nothing: others are better", "ничего: другие лучше"),
}


class Words:
    """One language: `words("rank", rank=2, count=13)` is HTML, with what is not ours escaped."""

    def __init__(self, language: str) -> None:
        self.russian = language == "ru"
        self._texts = RU if self.russian else EN

    def __call__(self, key: str, **values: Any) -> str:
        return self._texts[key].format(**{name: escape(str(value), quote=False) for name, value in values.items()})

    def time(self, seconds: float) -> str:
        said = duration(seconds)
        for english, russian in _UNITS.items() if self.russian else ():
            said = said.replace(english, russian)
        return said

    def action(self, rule: str) -> str | None:
        """What to do about `rule`; None for one that is not known."""
        name = MOVES[rule].__name__.removeprefix("_") if rule in MOVES else rule
        return _ACTIONS[name][self.russian] if name in _ACTIONS else None

    def reason(self, why: str) -> str:
        """Why a study stopped: in this language where it is one of ours, else as it was said."""
        return self(why) if why in ("killed", "interrupted", "idle") else escape(why, quote=False)
