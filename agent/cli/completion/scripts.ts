/** The three completion scripts. Each only hands the words so far to `vine __complete`, so they need no change when commands do. */
import type { Call } from '../definition.ts'
import { usage } from '../usage.ts'

const scripts: Readonly<Record<string, string>> = {
  bash: `# vine completion for bash: source <(vine completion bash)
_vine() {
  local words line
  words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(vine __complete -- "\${words[@]}" 2>/dev/null)
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _vine vine
`,
  zsh: `#compdef vine
# vine completion for zsh, after compinit: source <(vine completion zsh)
_vine() {
  local -a found space
  local line word
  while IFS= read -r line; do
    word="\${line%%$'\\t'*}"
    [[ $word == *= ]] && space=(-S '')
    found+=("\${word//:/\\\\:}:\${line#*$'\\t'}")
  done < <(vine __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#found )); then _describe 'vine' found "\${(@)space}"; else _files; fi
}
if [[ $funcstack[1] == _vine ]]; then _vine; else compdef _vine vine; fi
`,
  fish: `# vine completion for fish: vine completion fish > ~/.config/fish/completions/vine.fish
function __vine_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (vine __complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c vine -f -a '(__vine_complete)'
`,
}

export async function completion(call: Call): Promise<number> {
  const [shell = ''] = call.args
  const script = scripts[shell]
  if (script === undefined)
    throw usage(`there is no completion for "${shell}"`, `Shells: ${Object.keys(scripts).join(', ')}`)
  call.io.out.write(script)
  return 0
}
