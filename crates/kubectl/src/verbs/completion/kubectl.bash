# bash completion for kubectl

__kubectl_complete() {
    local typed=${COMP_LINE:0:COMP_POINT} line directive current
    local -a words answer
    read -ra words <<<"$typed"
    [[ $typed == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    mapfile -t answer < <("${words[0]}" __completeNoDesc "${words[@]:1}" 2>/dev/null)
    ((${#answer[@]})) || return
    directive=${answer[-1]#:}
    unset 'answer[-1]'

    # Bash takes what stands behind these for a word of its own.
    local before=${current%"${current##*[=:]}"}
    COMPREPLY=()
    for line in "${answer[@]}"; do
        COMPREPLY+=("${line#"$before"}")
    done
    ((directive & 2)) && compopt -o nospace
    ((directive & 4)) && compopt +o default
}

complete -o default -F __kubectl_complete kubectl
