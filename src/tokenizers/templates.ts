/** Chat templates that a recipe may name, in Jinja: written here after the formats' public descriptions. */
const turns = (body: string, prompt: string): string =>
  `{{ bos_token if bos_token is defined else '' }}{% for message in messages %}${body}{% endfor %}{% if add_generation_prompt %}${prompt}{% endif %}`

const byRole = (system: string, user: string, assistant: string): string =>
  `{% if message['role'] == 'system' %}${system}{% elif message['role'] == 'user' %}${user}{% else %}${assistant}{% endif %}`

const CONTENT = "{{ message['content'] | trim }}"

const TEMPLATES: Readonly<Record<string, string>> = {
  chatml:
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  llama3: turns(
    `{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}${CONTENT}{{ '<|eot_id|>' }}`,
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}",
  ),
  alpaca: turns(
    byRole(
      `${CONTENT}{{ '\\n\\n' }}`,
      `{{ '### Instruction:\\n' }}${CONTENT}{{ '\\n\\n' }}`,
      `{{ '### Response:\\n' }}${CONTENT}{{ eos_token + '\\n\\n' }}`,
    ),
    "{{ '### Response:\\n' }}",
  ),
  mistral: turns(
    byRole(
      `{{ '[INST] ' }}${CONTENT}{{ ' [/INST]' }}`,
      `{{ '[INST] ' }}${CONTENT}{{ ' [/INST]' }}`,
      `{{ ' ' }}${CONTENT}{{ eos_token }}`,
    ),
    '',
  ),
  exaone: turns(
    `{{ '[|' + message['role'] + '|]' }}${CONTENT}{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}{{ '[|endofturn|]\\n' }}{% endif %}`,
    "{{ '[|assistant|]' }}",
  ),
}

export const templateNames = (): string[] => Object.keys(TEMPLATES)

/** The template of a known name. */
export const templateOf = (name: string): string | undefined =>
  Object.hasOwn(TEMPLATES, name) ? TEMPLATES[name] : undefined
