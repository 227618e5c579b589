/**
 * Chat templates, in Jinja, that a recipe may name, written from the public descriptions of the formats. They render
 * the same as the models' own templates. alpaca belongs to no model and renders the same as mergekit's, with a blank
 * line before the prompt.
 */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  chatml: [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}",
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  ],
  llama3: [
    "{{ bos_token if bos_token is defined else '' }}{% for message in messages %}",
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}",
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  ],
  alpaca: [
    "{% set heads = {'user': 'Instruction', 'user_context': 'Input', 'assistant': 'Response'} %}",
    "{% set system = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | list %}",
    "{{ (system[-1] | trim if system else '') + '\\n\\n' }}{% for message in messages %}{% if message['role'] in heads %}",
    "{{ '### ' + heads[message['role']] + ':\\n' + message['content'] | trim }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}",
    "{% endif %}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}",
    "{{ ('\\n\\n' if messages[-1]['role'] in heads else '') + '### Response:\\n' }}{% endif %}",
  ],
  // A system message belongs to the first user's turn.
  mistral: [
    "{{ bos_token }}{% set first = 1 if messages and messages[0]['role'] == 'system' else 0 %}",
    '{% for message in messages[first:] %}',
    "{% if message['role'] not in ['user', 'assistant'] %}",
    "{{ raise_exception('Only user and assistant messages may follow an optional system message') }}",
    "{% elif (message['role'] == 'user') != (loop.index0 % 2 == 0) %}",
    "{{ raise_exception('User and assistant messages must alternate, and a user message comes first') }}",
    "{% elif message['role'] == 'user' %}{% set before = messages[0]['content'] + '\\n\\n' if first and loop.first else '' %}",
    "{{ ' [INST] ' + before + message['content'] + ' [/INST]' }}",
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}",
  ],
  // A conversation without a system message starts with an empty one.
  exaone: [
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '[|system|][|endofturn|]\\n' }}{% endif %}",
    "{{ '[|' + message['role'] + '|]' + message['content'] }}",
    "{{ '\\n' if message['role'] == 'user' else '[|endofturn|]\\n' }}",
    "{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}",
  ],
}

export const templateNames = (): string[] => Object.keys(PARTS)

/** The template with this name; undefined if the name is unknown. */
export const templateOf = (name: string): string | undefined =>
  Object.hasOwn(PARTS, name) ? PARTS[name]!.join('') : undefined
