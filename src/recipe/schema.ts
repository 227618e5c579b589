/**
 * The recipe language as a JSON Schema: what editors show and what the structure check (`structure.ts`) runs.
 *
 * Two conventions let faults be told well. The branches of every `anyOf` differ in their JSON type, so that a fault
 * belongs to one branch. A `title` is the expected form in words, used in messages: "expected TITLE".
 */

import { DTYPE_NAMES } from '../encodings/index.js'
import { listOf, object, ref, type Schema, several, text } from '../language/schemaParts.js'
import { METHOD_NAMES, METHODS } from '../methods/registry.js'
import type { Method, ParameterSchema } from '../methods/types.js'
import { specSchema } from '../rebasin/spec.js'
import { extract } from '../steps/extract/schema.js'
import { takesLines } from '../steps/merge/parameters.js'
import { stack } from '../steps/stack/schema.js'

export type { Schema } from '../language/schemaParts.js'

const PATTERN_HELP =
  'A plain string is the exact name; * stands for anything within one dotted part, ** across parts; /…/ is a regular expression (RE2 syntax) found anywhere in the name.'

/** What a recipe may write for one parameter. */
function parameterSchema(parameter: ParameterSchema): Schema {
  const { name, type, minimum, maximum, choices, perModel, describe } = parameter
  const given = parameter.default === undefined ? 'Required.' : `Default: ${parameter.default}.`
  const description = `${describe} ${given}`
  const bounds = { ...(minimum === undefined ? {} : { minimum }), ...(maximum === undefined ? {} : { maximum }) }
  if (type === 'choice') return { enum: choices ?? [], description }
  if (type === 'boolean' && choices === undefined) return { type: 'boolean', description }
  if (type === 'integer') return { type: 'integer', ...bounds, description }
  const words = (choices ?? []).filter((choice) => typeof choice === 'string')
  const one: Schema = type === 'number' ? { type: 'number', ...bounds } : { type: 'boolean' }
  const branches: Schema[] = [one]
  if (words.length > 0) branches.push({ type: 'string', enum: words })
  if (type === 'number') {
    if (choices?.some((choice) => typeof choice === 'boolean')) branches.push({ type: 'boolean' })
    const list = listOf(one)
    branches.push(list)
    if (perModel) branches.push({ type: 'object', minProperties: 1, additionalProperties: { anyOf: [one, list] } })
  }
  return several(`a value of ${name}`, description, ...branches)
}

function methodParameters(method: Method): Schema {
  const properties: Record<string, unknown> = {}
  for (const parameter of method.parameters) properties[parameter.name] = parameterSchema(parameter)
  if (takesLines(method)) properties.lines = ref('lines')
  return {
    type: 'object',
    description: `${method.name}: ${method.formula}${method.paper ? ` (arXiv ${method.paper})` : ''}`,
    properties,
    additionalProperties: false,
  }
}

/** Where a method is named, its parameters are known: editors complete them. `parameters.ts` does the checking. */
const byMethod: Schema[] = METHODS.map((method) => ({
  if: { properties: { method: { enum: [method.name, ...method.aliases] } }, required: ['method'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { properties: { parameters: ref(`parameters-${method.name}`) } },
}))

const method: Schema = {
  title: "a merge method's name",
  type: 'string',
  description: 'The merge method; `terge methods` lists them. A rule that names another one starts from its defaults.',
  examples: METHOD_NAMES,
}
const models: Schema = {
  ...listOf(text('The name of a model or step.')),
  title: 'a list of names of models or steps',
  description: 'Who takes part, in order. Default: every model; for task-vector methods every model but the base.',
}
const weights = several(
  'a list of numbers, or a mapping model → number or gradient',
  'A list in the order of the participating models, or a mapping by name; 1 each where left out.',
  listOf({ type: 'number' }),
  { type: 'object', additionalProperties: ref('gradient') },
)
const parameters: Schema = {
  type: 'object',
  title: 'a mapping of parameters',
  description:
    "The method's own: a number, a gradient over the layers (list), or a mapping model → number or gradient.",
}
const base = text(
  'The model whose names, shapes and untouched tensors the result has. Default: the first model; methods that compare models with a base need it written.',
)

const merge: Schema = {
  ...object(
    {
      method,
      models,
      weights,
      parameters,
      rules: { ...listOf(ref('rule'), 0), description: 'The first rule that matches a tensor applies to it.' },
      base,
      filters: ref('filters'),
      on_missing: {
        enum: ['copy', 'keep', 'error'],
        description:
          'A participant lacks a tensor of the base: the others are merged, else the base keeps its own. copy refuses where over half of the parameters would stay unmerged, keep does not. Default: copy.',
      },
      on_mismatch: {
        enum: ['copy', 'error', 'crop'],
        description:
          'A participant has it in another shape. crop: where only the number of rows differs, those that all have are merged, and the base keeps the others. Default: copy.',
      },
      dtype: {
        enum: Object.keys(DTYPE_NAMES),
        description:
          'Merged tensors are rounded to this dtype before other steps use them. Default: they are not rounded.',
      },
    },
    ['method'],
    'How the tensors of several models become one.',
  ),
  allOf: byMethod,
}
const rule: Schema = {
  ...object(
    { match: ref('patterns'), method, models, weights, parameters },
    ['match'],
    'Settings for the tensors that match. A rule that keeps the method is laid over the settings of merge key by key.',
  ),
  allOf: byMethod,
}

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

const rebasin: Schema = {
  ...object(
    {
      model: text('The model to permute.'),
      onto: text('The model it is permuted onto.'),
      models: { ...listOf(text('A model.'), 2), description: 'Models to align jointly, onto the first of them.' },
      method: { enum: ['weight-matching', 'merge-many', 'c2m3'], description: 'Default: weight-matching.' },
      spec: several(
        "auto, a family's name, a file, or the spec itself",
        'Which axes of which tensors share a permutation. Default: auto.',
        text('auto, a family, or a file.'),
        ref('spec'),
      ),
      symmetry: { enum: ['permutation', 'orthogonal'], description: 'Default: permutation.' },
      seed: ref('seed'),
      max_iterations: { type: 'integer', minimum: 1, description: 'Default: 100.' },
    },
    [],
    'Permutes a model onto another so that they can be averaged.',
  ),
}
const repair = object(
  { model: text('The model to repair. Default in the short form: the merge.'), batch_norm: { enum: ['correlation'] } },
  ['batch_norm'],
  'Corrects BatchNorm variances after an averaging merge, without data.',
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
const interpolate = object(
  {
    from: text('The model at t = 0.'),
    to: text('The model at t = 1.'),
    points: { type: 'integer', minimum: 2, maximum: 10001, description: 'How many points, ends included.' },
    at: { ...listOf({ type: 'number' }), description: 'The values of t themselves.' },
    method: { enum: ['linear', 'slerp'], description: 'Default: linear.' },
    keep: { type: 'boolean', description: 'false keeps only the evaluations. Default: true.' },
    evaluate: ref('evaluate'),
  },
  ['from', 'to'],
  'Checkpoints along the way between two models.',
)
/** The kinds of step, each a key of its mapping. */
export const STEP_KINDS = ['merge', 'rebasin', 'repair', 'interpolate', 'stack', 'extract'] as const

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

/** The schema for the structure check: what is in a permutation spec, its reader tells better. */
export const checkedSchema = (): Schema => recipeSchema({ type: 'object' })

/** `spec`: what a permutation spec in the recipe may be. */
export const recipeSchema = (spec: Schema = specSchema): Schema => ({
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'terge recipe, version 1',
  ...object(
    {
      terge: { const: 1, description: 'Version of the recipe language: 1.' },
      models: { ...named(ref('model')), minProperties: 1, description: 'Names for the rest of the recipe.' },
      base,
      filters: ref('filters'),
      rebasin: several(
        'a mapping or a list of mappings',
        'Permutes models onto others before the merge.',
        ref('rebasin'),
        listOf(ref('rebasin')),
      ),
      merge: ref('merge'),
      repair: ref('repair'),
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
    lines: object(
      {
        alpha: { type: 'number', description: 'Scale at the first layer, and outside layers.' },
        beta: { type: 'number', description: 'What is added to it up to the last layer.' },
      },
      ['alpha', 'beta'],
      'Scales each task vector by alpha + beta·layer/(L−1), alpha outside layers (arXiv 2410.17146).',
    ),
    seed: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      title: 'a whole number from 0',
      description: 'Seed of everything random. Default: 0.',
    },
    merge,
    rule,
    rebasin,
    spec,
    repair,
    interpolate,
    stack,
    extract,
    step,
    evaluate,
    output: outputMapping,
    ...Object.fromEntries(METHODS.map((entry) => [`parameters-${entry.name}`, methodParameters(entry)])),
  },
})
