/** The `merge` key of a recipe. */
import { DTYPE_NAMES } from '../../encodings/index.js'
import { energy, inEditors, listOf, object, ref, type Schema, several, text, word } from '../../language/schemaParts.js'
import { allParameters, METHODS } from '../../methods/registry.js'
import type { Method, ParameterSchema } from '../../methods/types.js'
import { blocksSchema } from './blocks.js'
import { METHOD_CONSTANTS, mergeRules, ruleRules } from './editorRules.js'
import { takesLines } from './parameters.js'
import { SHAPE_NAMES } from './trajectory.js'

/** A mapping of models. It also fits numbers per block, whose keys have the same types. */
const eachModel = (one: Schema): Schema => ({
  type: 'object',
  minProperties: 1,
  additionalProperties: { anyOf: [one, listOf(one), ref('blocks')] },
})

/** The values that a recipe can have for one parameter. */
function parameterSchema(parameter: ParameterSchema): Schema {
  const { name, type, minimum, maximum, choices, perModel, describe } = parameter
  const given = parameter.default === undefined ? 'Required.' : `Default: ${parameter.default}.`
  const description = `${describe} ${given}`
  const bounds = { ...(minimum === undefined ? {} : { minimum }), ...(maximum === undefined ? {} : { maximum }) }
  if (type === 'formula') return { type: 'string', title: 'a formula', minLength: 1, description }
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
    branches.push(perModel ? eachModel(one) : ref('blocks'))
  }
  return several(`a value of ${name}`, description, ...branches)
}

function methodParameters(method: Method): Schema {
  const properties: Record<string, Schema> = {}
  for (const parameter of allParameters(method)) properties[parameter.name] = parameterSchema(parameter)
  if (takesLines(method)) properties.lines = ref('lines')
  return {
    type: 'object',
    description: `${method.name}: ${method.formula}${method.paper ? ` (arXiv ${method.paper})` : ''}`,
    properties,
    additionalProperties: method.open ? ownParameter : false,
  }
}

/** A parameter that a formula names. Whether it uses the name is checked where the formula is known. */
const ownParameter: Schema = several(
  'a number, a gradient, or a mapping model → number',
  'A number of the formula. A mapping model → number gives one for each merged model, as w has.',
  { type: 'number' },
  listOf({ type: 'number' }),
  eachModel({ type: 'number' }),
)

const method: Schema = inEditors(
  {
    title: 'the name of a merge method',
    type: 'string',
    description:
      'The merge method. `terge methods` lists all methods. A rule with another method starts from the defaults of that method.',
  },
  { type: undefined, anyOf: METHOD_CONSTANTS },
)
const models: Schema = inEditors(
  {
    ...listOf(text('The name of a model or step, or a path with * for all checkpoints that match.')),
    title: 'a list of names of models or steps',
    description:
      'The models to merge, in order. Default: every model; for task-vector methods, every model except the base.',
  },
  { uniqueItems: true },
)
const shapeOrNumber = several(
  'a shape or a number',
  'uniform, ema (with decay), linear or sqrt: weights of checkpoints of one run, oldest first (arXiv 2505.12082, 2507.17634). A number is the weight of a model with this name.',
  inEditors({ type: 'string' }, { enum: SHAPE_NAMES }),
  { type: 'number' },
  listOf({ type: 'number' }),
  ref('blocks'),
)
const weights = several(
  'a list of numbers, a mapping model → number or gradient, or a shape',
  'A list in the order of the merged models, a mapping by name, or {shape: uniform, ema, linear or sqrt} for checkpoints of one run, oldest first. Default: 1 for each model.',
  listOf({ type: 'number' }),
  // A model may have the name shape.
  {
    type: 'object',
    patternProperties: { '^shape$': shapeOrNumber },
    additionalProperties: ref('gradient'),
  },
)
const parameters: Schema = {
  type: 'object',
  title: 'a mapping of parameters',
  description:
    'Parameters of the method. A value is a number, a gradient over the layers (list), or a mapping model → number or gradient.',
}
/** Also a top-level key of recipes. */
export const base = text(
  'The model that gives the result its tensor names, its shapes and its unmerged tensors. Default: the first model. Task-vector methods require it.',
)

export const merge: Schema = inEditors(
  object(
    {
      method,
      models,
      weights,
      parameters,
      rules: {
        ...listOf(ref('rule'), 0),
        description: 'Settings for some tensors. The first rule that matches a tensor applies to it.',
      },
      base,
      filters: ref('filters'),
      on_missing: word(
        {
          copy: 'Merge the other models, or copy the tensor from the base. Fail if over half of the parameters would stay unmerged.',
          keep: 'Merge the other models, or copy the tensor from the base.',
          error: 'Fail.',
        },
        {
          description:
            'What to do if a model lacks a tensor of the base. copy: merge the other models, or copy the tensor from the base; fail if over half of the parameters would stay unmerged. keep: the same without this limit. error: fail. Default: copy.',
        },
      ),
      on_mismatch: word(
        {
          copy: 'Merge the other models, or copy the tensor from the base.',
          error: 'Fail.',
          crop: 'Merge the rows that all models have, and copy the others from the base. All else must be equal.',
        },
        {
          description:
            'What to do if a model has the tensor in another shape. copy: merge the other models, or copy the tensor from the base. crop: if only the number of rows differs, merge the rows that all models have and copy the others from the base. error: fail. Default: copy.',
        },
      ),
      dtype: {
        enum: Object.keys(DTYPE_NAMES),
        description: 'Rounds merged tensors to this dtype before other steps use them. Default: no rounding.',
      },
      rank: several(
        "a positive integer or 'full'",
        'For adapters: the rank of the merged adapter, which is the best approximation of the merge. full: the exact result, whose rank is the sum of the ranks. Default: full.',
        { type: 'integer', minimum: 1 },
        { type: 'string', enum: ['full'] },
      ),
      energy: energy(
        'For adapters: the share of the squared change that the result keeps of each module, such as 0.99. With rank: N, the rank is at most N.',
      ),
    },
    ['method'],
    'Merges the tensors of several models.',
  ),
  { allOf: mergeRules },
)
const rule: Schema = inEditors(
  object(
    { match: ref('patterns'), method, models, weights, parameters },
    ['match'],
    'Settings for the tensors that match. A rule with the same method overrides the settings of merge key by key.',
  ),
  { allOf: ruleRules },
)

const lines = object(
  {
    alpha: { type: 'number', description: 'Scale at the first layer and outside layers.' },
    beta: { type: 'number', description: 'Added to alpha in full at the last layer.' },
  },
  ['alpha', 'beta'],
  'Scales each task vector by alpha + beta·layer/(L−1), alpha outside layers (arXiv 2410.17146).',
)

/** Definitions that `merge` refers to. */
export const definitions: Readonly<Record<string, Schema>> = {
  rule,
  lines,
  blocks: blocksSchema,
  ...Object.fromEntries(METHODS.map((entry) => [`parameters-${entry.name}`, methodParameters(entry)])),
}
