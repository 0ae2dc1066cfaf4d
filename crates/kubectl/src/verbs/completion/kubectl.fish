# fish completion for kubectl

function __kubectl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    test (count $answer) -gt 0; or return
    set -l directive (string replace -r '^:' '' -- $answer[-1])
    # Value candidates do not repeat the flag.
    set -l flag (string match -r -- '^-.*=' "$current")
    for line in $answer[1..-2]
        echo "$flag$line"
    end
    if test (math "floor($directive / 4) % 2") -eq 0
        __fish_complete_path "$current"
    end
end

complete -c kubectl -e
complete -c kubectl -f -a '(__kubectl_complete)'
