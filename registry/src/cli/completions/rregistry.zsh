#compdef rregistry
# zsh completion of rregistry: the program itself is asked what fits.
_rregistry() {
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
        _describe -V rregistry described
    else
        _files
    fi
}
if [[ $funcstack[1] == _rregistry ]]; then
    _rregistry "$@"
else
    compdef _rregistry rregistry
fi
