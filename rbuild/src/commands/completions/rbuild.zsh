#compdef rbuild
# zsh completion of rbuild: the program itself is asked what fits.
_rbuild() {
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
        _describe -V rbuild described
    else
        _files
    fi
}
if [[ $funcstack[1] == _rbuild ]]; then
    _rbuild "$@"
else
    compdef _rbuild rbuild
fi
