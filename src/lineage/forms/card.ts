/** The model card of an output folder, as the hub shows it: what went in, how it was merged, and where to look further. */
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import { kindOf, type StepRecord } from '../../steps/index.js'
import type { LineageFrame } from '../serialize.js'

/** What a card says of a lineage that is written beside it. */
export interface Written {
  /** `sha256:…` of its text. */
  readonly digest: string
  /** Of its tensors. */
  readonly methods: ReadonlySet<string>
}

/** `name` is the output's own. Markdown, ended by a line feed. */
export function modelCard(lineage: LineageFrame, { digest, methods: all }: Written, name: string): string {
  const models = Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index)
  const methods = [...all].filter((one) => one !== 'copy').sort()
  const step = lineage.steps[lineage.output.from]
  const extracted = step && step.kind !== 'tokenizer' ? kindOf(step).adapter : undefined
  const library = libraryOf(lineage)
  const bases = extracted ? models.filter(([name]) => name === extracted.base(step as StepRecord)) : models
  const published = [...new Set(bases.flatMap(([, { reference }]) => /^hf:([^@]+)/.exec(reference)?.[1] ?? []))]
  const front = [
    `library_name: ${library}`,
    `tags: [${[...(library === 'peft' ? ['lora'] : []), ...(extracted ? [] : ['merge']), 'terge'].join(', ')}]`,
    // The hub takes names of repositories only: models that lie on a disk are named below.
    ...(published.length > 0 ? ['base_model:', ...published.map((one) => `  - ${JSON.stringify(one)}`)] : []),
  ]
  const rows = models.map(([model, { reference, revision, files }]) => {
    const size = files.reduce((sum, file) => sum + file.size, 0)
    return `| ${plain(model)} | ${plain(reference)} | ${plain(revision ?? '')} | ${files.length} | ${size} |`
  })
  const recipe = lineage.recipe.text.replace(/\n*$/, '\n')
  const fence = '`'.repeat(Math.max(3, ...[...recipe.matchAll(/`+/g)].map(([run]) => run.length + 1)))
  const set = lineage.recipe.set.map((value) => `\`--set ${value}\``)
  return `${[
    '---',
    ...front,
    '---',
    '',
    `# ${plain(name)}`,
    '',
    extracted
      ? `A low-rank adapter, extracted with terge ${lineage.terge}. ${extracted.sentence(step as StepRecord, plain)}`
      : `Merged with terge ${lineage.terge}${methods.length > 0 ? `: ${methods.map(plain).join(', ')}` : ''}.`,
    '',
    '| model | reference | revision | files | bytes |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    `The recipe${set.length > 0 ? `, run with ${set.join(', ')}` : ''}:`,
    '',
    `${fence}yaml`,
    `${recipe}${fence}`,
    '',
    '`lineage.json` records how each tensor was made:',
    '',
    `- lineage: \`${digest}\``,
    `- plan: \`${lineage.plan.digest}\``,
    ...(lineage.output.digest === null ? [] : [`- output: \`${lineage.output.digest}\``]),
  ].join('\n')}\n`
}

/** Who loads such a folder: told by the file that lists its parts, or says what it is. */
function libraryOf({ output: { files } }: LineageFrame): string {
  const has = (name: string): boolean => files.some((file) => file.name === name)
  if (has(ADAPTER_CONFIG)) return 'peft'
  return has('model_index.json') ? 'diffusers' : has('modules.json') ? 'sentence-transformers' : 'transformers'
}

/** Names come from strangers: what could be markup is taken as the letter it is. */
const plain = (text: string): string =>
  text.replace(/[\\`*_{}[\]<>#|!\r\n]/g, (mark) => (/\s/.test(mark) ? ' ' : `\\${mark}`))
