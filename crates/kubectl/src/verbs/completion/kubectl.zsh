#compdef kubectl
compdef _kubectl kubectl

_kubectl() {
    local -a answer described
    local line directive
    answer=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    (( ${#answer} )) || return 1
    directive=${answer[-1]#:}
    for line in "${(@)answer[1,-2]}"; do
        [[ -n $line ]] || continue
        local name=${line%%$'\t'*} about=
        [[ $line == *$'\t'* ]] && about=${line#*$'\t'}
        described+=("${name//:/\\:}${about:+:$about}")
    done
    if (( directive & 2 )); then
        _describe -V 'completions' described -S ''
    else
        _describe -V 'completions' described
    fi
    (( directive & 4 )) || _files
}

# When sourced, there is nothing to complete yet.
[[ ${funcstack[1]} == _kubectl ]] && _kubectl
