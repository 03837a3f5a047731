#compdef PROGRAM
# zsh completion of PROGRAM: the program itself is asked what fits.
_PROGRAM() {
    local line value
    local -a found described
    found=("${(@f)$("${words[1]}" __complete $((CURRENT - 1)) -- "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    for line in "${found[@]}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        if [[ $line == *$'\t'* ]]; then
            described+=("${value//:/\\:}:${line#*$'\t'}")
        else
            described+=("${value//:/\\:}")
        fi
    done
    if (( $#described )); then
        _describe -V PROGRAM described
    else
        _files
    fi
}
if [[ $funcstack[1] == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
