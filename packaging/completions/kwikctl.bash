# Completion of kwikctl(1) for bash.

_kwikctl() {
    local word=${COMP_WORDS[COMP_CWORD]} verb="" index
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
        --socket) index=$((index + 1)) ;;
        -*) ;;
        *)
            verb=${COMP_WORDS[index]}
            break
            ;;
        esac
    done
    COMPREPLY=()
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --socket && $verb != run ]]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
    fi
    case $verb in
    "") mapfile -t COMPREPLY < <(compgen -W "status servers run version help --socket --help" -- "$word") ;;
    status) mapfile -t COMPREPLY < <(compgen -W "--json --watch --socket" -- "$word") ;;
    servers) mapfile -t COMPREPLY < <(compgen -W "--json --socket" -- "$word") ;;
    run)
        while [[ ${COMP_WORDS[index + 1]} == -* && $((index + 1)) -lt COMP_CWORD ]]; do
            [[ ${COMP_WORDS[index + 1]} == --socket ]] && index=$((index + 1))
            index=$((index + 1))
        done
        if declare -F _command_offset >/dev/null && ((index + 1 < COMP_CWORD)); then
            _command_offset $((index + 1))
        elif [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--socket --" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$word")
        fi
        ;;
    esac
}
complete -F _kwikctl kwikctl
