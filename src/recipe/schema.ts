/**
 * The recipe language as a JSON Schema: what editors show and what the structure check (`structure.ts`) runs.
 *
 * Two conventions let faults be told well. The branches of every `anyOf` differ in their JSON type, so that a fault
 * belongs to one branch. A `title` is the expected form in words, used in messages: "expected TITLE".
 */

import { DTYPE_NAMES } from '../encodings/index.js'
import { listOf, object, ref, type Schema, several, text } from '../language/schemaParts.js'
import { KINDS, SHORT_KINDS } from '../steps/index.js'
import { base } from '../steps/merge/schema.js'

export type { Schema } from '../language/schemaParts.js'

const PATTERN_HELP =
  'A plain string is the exact name; * stands for anything within one dotted part, ** across parts; /…/ is a regular expression (RE2 syntax) found anywhere in the name.'

const modelMapping = object(
  {
    path: text('A .safetensors file, a PyTorch state dict, or a folder as the hub lays it out.'),
    hub: text('A repository on the hub: org/name.'),
    revision: {
      title: 'a revision',
      type: ['string', 'number'],
      description: 'Commit, branch or tag of the hub repository.',
    },
    sha256: {
      type: ['string', 'number'],
      pattern: '^[0-9a-fA-F]{64}$',
      title: '64 hexadecimal digits',
      description: 'The SHA-256 that the file must have.',
    },
    subfolder: text('A folder inside the model.'),
    lora: text('A PEFT adapter to apply to it while it is read: its folder or file, or hf:org/name@revision.'),
    lora_scale: { type: 'number', description: 'Factor on the adapter. Default: 1.' },
    strip_prefix: text('Taken off the start of every tensor name.'),
    rename: {
      ...listOf(
        object({ from: text(PATTERN_HELP), to: text('The new name.') }, ['from', 'to'], 'One renaming of tensors.'),
      ),
      description: 'Renamings of tensors, applied in order.',
    },
    statistics: text('A safetensors file with the statistics that fisher and regmean need.'),
  },
  [],
  'A model with more than its path.',
)

const dtype: Schema = {
  enum: Object.keys(DTYPE_NAMES),
  title: 'a dtype',
  description: "Casts every floating-point tensor. Default: each base tensor's own.",
}
const outputMapping = object(
  {
    path: text('Relative to the recipe. One file where it ends in .safetensors, otherwise a folder.'),
    from: text('The model or step to write. Default: the only step that no other step uses.'),
    dtype,
    shard_size: several('a size such as 5GB', 'Largest size of one file, such as 5GB or 512MiB.', text('A size.'), {
      type: 'integer',
      minimum: 1,
    }),
    metadata: {
      type: 'object',
      additionalProperties: { title: 'a text', type: 'string' },
      description: 'Texts for the header of the safetensors files.',
    },
  },
  ['path'],
  'Where the result goes, and how.',
)

const evaluate = object(
  {
    command: { ...listOf(text('A word of the command.')), description: 'Program and arguments; {model} is the path.' },
    env: {
      ...listOf({ type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_]*$', title: 'the name of an environment variable' }),
      description: 'Names of environment variables with credentials that it may see. Default: none.',
    },
    timeout: {
      type: 'number',
      minimum: 0.001,
      maximum: 1_000_000,
      description: 'Seconds after which it is ended and the run fails. Default: none.',
    },
  },
  ['command'],
  'A command run on each checkpoint; runs only with --allow-commands.',
)
/** The kinds of step, each a key of its mapping. */
export const STEP_KINDS: readonly string[] = KINDS.map(({ kind }) => kind)

/** Kinds that may stand at the root of a recipe. */
const shortForms = (): Schema =>
  Object.fromEntries(
    SHORT_KINDS.map(({ kind, short }) => [
      kind,
      short.list
        ? several('a mapping or a list of mappings', short.list.describe, ref(kind), listOf(ref(kind)))
        : ref(kind),
    ]),
  )

/** `checked`: without what readers of steps check themselves. */
const stepDefinitions = (checked: boolean): Schema => {
  const definitions = KINDS.flatMap(({ kind, schema, definitions = {} }) => [
    [kind, schema] as const,
    ...Object.entries(definitions),
  ])
  const own = new Set(checked ? KINDS.flatMap(({ checkedByReader = [] }) => checkedByReader) : [])
  return Object.fromEntries(definitions.map(([name, schema]) => [name, own.has(name) ? { type: 'object' } : schema]))
}

const step: Schema = {
  ...object(Object.fromEntries(STEP_KINDS.map((kind) => [kind, ref(kind)])), [], 'One step: exactly one of its keys.'),
  minProperties: 1,
  maxProperties: 1,
}
const named = (schema: Schema): Schema => ({ type: 'object', additionalProperties: schema })

const tokenSource = several(
  'the name of a model or a mapping',
  'Where the embedding comes from.',
  text('A model that has the token.'),
  object(
    {
      kind: { enum: ['model_token', 'zero'], description: 'A token of a model, or zeros.' },
      model: text('A model.'),
      token: { type: 'string', description: 'Its token.' },
      token_id: { type: 'integer', minimum: 0, description: "Its token's id." },
    },
    ['kind'],
    'A token of a model, under another name, or zeros.',
  ),
)
const tokenChoice = several(
  'the name of a model or a mapping',
  'The source of one token.',
  text('A model that has the token.'),
  object(
    {
      source: tokenSource,
      force: { type: 'boolean', description: 'Also for models that have the token. Default: false.' },
    },
    ['source'],
    'The source of one token, with details.',
  ),
)
const tokenizer = several(
  'base, union, the name of a model, or a mapping',
  'Whose tokenizer the result has. Default: base.',
  text('base, union, or the name of a model.'),
  object(
    {
      source: text('base, union, or the name of a model.'),
      tokens: {
        ...named(tokenChoice),
        description:
          "By token: whose embedding models get that lack it. Default: the base's, else that of those who have it.",
      },
      pad_to_multiple_of: { type: 'integer', minimum: 1, description: 'Pads the vocabulary.' },
    },
    ['source'],
    'Tokenizer with details.',
  ),
)

/** The schema for the structure check: what readers of steps check, they tell better. */
export const checkedSchema = (): Schema => recipeSchema(true)

/** `checked`: for the structure check. */
export const recipeSchema = (checked = false): Schema => ({
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'terge recipe, version 1',
  ...object(
    {
      terge: { const: 1, description: 'Version of the recipe language: 1.' },
      models: { ...named(ref('model')), minProperties: 1, description: 'Names for the rest of the recipe.' },
      base,
      filters: ref('filters'),
      ...shortForms(),
      steps: { ...named(ref('step')), minProperties: 1, description: 'The long form: a graph of named steps.' },
      compute: { enum: ['float32', 'float64'], description: 'The arithmetic. Default: float32.' },
      seed: ref('seed'),
      tokenizer,
      chat_template: text("A model's name, a known template's name, or a text in Jinja. Default: the base's."),
      output: several('a path or a mapping', 'Where the result goes.', text('A path.'), ref('output')),
      outputs: { ...listOf(ref('output')), description: 'Where several results go.' },
      evaluate: ref('evaluate'),
    },
    ['terge', 'models'],
    'A merge of neural-network checkpoints.',
  ),
  $defs: {
    model: several(
      'a path, a hub reference, or a mapping',
      'A path, hf:org/name@revision, or a mapping with path or hub.',
      text('A path relative to the recipe, or hf:org/name@revision.'),
      modelMapping,
    ),
    patterns: several('a pattern or a list of patterns', PATTERN_HELP, text(PATTERN_HELP), listOf(text(PATTERN_HELP))),
    filters: object(
      { include: ref('patterns'), exclude: ref('patterns') },
      [],
      'Which tensors take part: include first, then exclude. All others are copied from the base.',
    ),
    gradient: several(
      'a number or a list of numbers',
      'A number, or a list spread evenly over the layers of the base.',
      { type: 'number' },
      listOf({ type: 'number' }),
    ),
    seed: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      title: 'a whole number from 0',
      description: 'Seed of everything random. Default: 0.',
    },
    ...stepDefinitions(checked),
    step,
    evaluate,
    output: outputMapping,
  },
})
