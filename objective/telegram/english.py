"""The reporter's texts in English.

HTML as Telegram reads it. `{count:trial|trials}` is the form of a noun after that number (objective/telegram/translations.py).
"""

TEXTS = {
    # a study
    "study_started": (
        "▶️ <b>{study}</b>: {finished} of {wanted} {wanted:trial|trials} finished, budget {budget} kframes "
        "(thousand mel frames) per trial"
    ),
    "study_resumed": "▶️ <b>{study}</b> resumed: {finished} of {wanted} {wanted:trial|trials} finished",
    "study_stopped": "⏹ <b>{study}</b> stopped: {finished} of {wanted} {wanted:trial|trials} finished",
    "study_done": "🏁 <b>{study}</b> is complete: {finished} of {wanted} {wanted:trial|trials} finished",
    "stop_killed": "the process was killed; run the same command again to resume",
    "stop_interrupted": "interrupted by Ctrl-C or a signal; run the same command again to resume",
    "stop_idle": "no worker has been active for a while; run the study's command again to resume",
    "best": "best: <b>trial {number}</b>, {value}",
    "no_best": "no healthy trial yet",
    "closest": "no healthy trial yet; the closest is <b>trial {number}</b>",
    "use": "checkpoint and configuration: {folder}\nto start a new study from it:",
    # a finished trial
    "healthy": "✅ <b>trial {number}: {value}</b>, healthy",
    "new_best": "⭐ <b>trial {number}: {value}</b>, best so far",
    "sick": "⚠️ <b>trial {number}: {value}</b>, sick",
    "pruned": "✂️ <b>trial {number}</b> pruned by {by}, last value {value}",
    "rank": "rank {rank} of {count}",
    "no_rank": "not ranked; healthy trials: {healthy} of {count}",
    "spent": "{kframes} of {budget} kframes in {time}",
    "differs": "compared with trial {number}, the best before it ({value}): {changes}",
    "same": "same parameters as trial {number}, the best before it ({value})",
    "params": "parameters: {params}",
    "said": "said: “{text}”",
    "heard": "heard: “{heard}”",
    "heard_nothing": "heard: nothing",
    "errors": "{errors} of letters heard wrong, recordings {floor}",
    "faults": "faults in {share} of {count} {count:sentence|sentences}",
    "health": "diagonality {diagonality}, reading {reading}, coverage {coverage}, stop token {gate}, gradient norm {norm}",
    "act": "→ {action}",
    "dead": "🚩 {count} consecutive {count:trial|trials} pruned at the first report",
    "pictures": "trial {number}: attention and curves",
    "sample": "trial {number}: synthesized sample",
    # any other trial
    "repair": "🔧 <b>trial {number}</b> repairs trial {parent}: {changes}",
    "again": "↪️ <b>trial {number}</b> retries the configuration of trial {parent}",
    "lost": "💥 <b>trial {number}</b> lost: {why}; its configuration will be retried",
    "given_up": "💥 <b>trial {number}</b> lost: {why}; {given_up}",
    "failed": "✋ <b>trial {number}</b> was stopped by hand; its configuration will not be retried",
    "flag": "🚩 <b>trial {number}</b> is critical: {evidence}",
    # the board
    "board": "<b>{study}</b>: {finished} of {wanted} {wanted:trial|trials} finished",
    "paused": "⏸ paused: no new trials start",
    "counts": "{healthy} healthy, {sick} sick, {pruned} pruned",
    "saved": "stopping early saved {kframes} kframes ({share})",
    "eta": "about {time} left",
    "phase_stopped": "stopped",
    "phase_done": "complete",
    "running": "<b>trial {number}</b> {status}",
    "status_STABLE": "STABLE",
    "status_ATTENTION": "ATTENTION",
    "status_CRITICAL": "CRITICAL",
    "progress": "{bar} {share}, validation loss {loss}",
    "measured": "diagonality {diagonality}, coverage {coverage}, stop token {gate}",
    "spoken": "heard wrong {errors}, faults {faults} at {kframes} kframes",
    "gradients": "gradient norm {norm} {trend}",
    "more": "and {count} more",
    # commands and their answers
    "help": (
        "<b>{study}</b>\n{commands}\n\n"
        "healthy: what it says is understood, and it meets every other target\nsick: it finished but misses one\n"
        "pruned: a rule stopped it early\nkframes: thousand mel frames of training"
    ),
    "about_status": "progress of the study",
    "about_best": "best trial and its configuration",
    "about_trial": "result of trial N",
    "about_curves": "attention and curves of trial N",
    "about_listen": "synthesized sample of trial N",
    "about_stop": "stop trial N for good",
    "about_pause": "start no new trials",
    "about_resume": "start trials again",
    "about_help": "commands and terms",
    "strangers": "{count} {count:message|messages} from other chats ignored",
    "other_study": "this button belongs to another study; the bot now reports {study}",
    "need_number": "add the number of a trial, for example {command} 12",
    "no_trial": "there is no trial {number}",
    "waits": "trial {number} is waiting for a worker",
    "no_pictures": "trial {number} has no pictures",
    "no_sample": "trial {number} has no sample",
    "stops": "trial {number} will stop at its next report and will not be retried",
    "not_running": "trial {number} is not running",
    "pauses": "no new trials will start; running trials continue",
    "resumes": "new trials will start again",
    "check": "✅ tacotune can write to this chat",
    "button_curves": "curves",
    "button_listen": "listen",
    "button_stop": "stop trial {number}",
    "button_best": "best",
    "button_pause": "pause",
    "button_resume": "resume",
    # units of a duration
    "unit_s": "s",
    "unit_min": "min",
    "unit_h": "h",
    "unit_d": "d",
    # what to do about a diagnosis (Remedy.advice in objective/search/repair.py)
    "advice_exploded": "halve learning_rate, set clip_norm to 1 or less",
    "advice_unaligned": "double guided_weight; if it is at its bound, raise reduction or prenet_dropout",
    "advice_not_understood": (
        "raise drop_frame_rate by 0.2; if it is at its bound, double guided_weight or raise reduction; or train on more frames"
    ),
    "advice_never_stops": "double gate_positive_weight",
    "advice_stops_too_early": "halve gate_positive_weight",
    "advice_overfitted": "raise dropout, multiply weight_decay by 10",
    "advice_too_slow": "double learning_rate or lengthen the warm-up",
    "advice_out_of_memory": "lower batch_size, or search fewer large networks",
    "advice_peers": "nothing to fix: other trials are better",
    "advice_unknown": "compare its curves with the thresholds in the health settings",
}
