/** The schema of layouts in a recipe. */
import { listOf, object, ref, type Schema, several, text, textOrWord } from '../../language/schemaParts.js'
import { FAMILIES, layoutName } from '../../layouts/index.js'

const integer = (description: string, least?: number): Schema => ({
  type: 'integer',
  ...(least === undefined ? {} : { minimum: least }),
  description,
})

const formHelp = 'A tensor’s name with captures such as {n}, or a mapping that says how it is made.'
const axis = integer('The axis, from 0. Negative: counted from the last. Default: 0.')

/** The ways to make a tensor, as keys of a form or rule. */
const ways: Schema = {
  is: ref('layoutForm'),
  concat: {
    ...listOf(ref('layoutForm')),
    description: 'Parts that follow one another along an axis, in each of its groups.',
  },
  axis,
  groups: several(
    'a number or in turn',
    'The number of groups along the axis, such as the number of heads. in turn: the places of the parts take turns. Default: 1.',
    integer('The number of groups.', 1),
    { type: 'string', enum: ['in turn'], description: 'The places of the parts take turns.' },
  ),
  sizes: {
    ...listOf(integer('The length of a part in one group.', 1)),
    description: 'The length of each part in one group. Default: all parts have the same.',
  },
  stack: ref('layoutForm'),
  over: text(
    'The capture that numbers the places of the stack. Default: the one that the tensor’s name does not have.',
  ),
  transpose: ref('layoutForm'),
  expand: ref('layoutForm'),
  ones: integer('The number of axes of size 1 at the end. Default: 2.', 1),
  swap_halves: ref('layoutForm'),
}

/** A sentence for each layout, which editors show where its name is completed. */
const sentences = (): Record<string, string> =>
  Object.fromEntries(
    FAMILIES.flatMap((family) =>
      family.forms.map((form) => [layoutName({ family, form }), `${family.title}: ${form.says}`]),
    ),
  )

const NAME_HELP =
  'The name of a layout: mixtral/released, gemma3/released by a model type, or released for all that fit. terge inspect --layouts lists them.'

export const layoutDefinitions: Schema = {
  layoutForm: several('a name or a mapping', formHelp, text(formHelp), object(ways, [], formHelp)),
  layoutRule: object(
    { tensor: text('The name of a stored tensor, with captures such as {n} for numbers.'), ...ways },
    [],
    'Which tensors a tensor is made of. The model may have either: terge reads it as the other.',
  ),
  layoutName: textOrWord(NAME_HELP, sentences()),
}

/** The layouts of a model. */
export const modelLayout: Schema = several(
  'a name, a rule, or a list of these',
  'How the model’s tensors are stored. Default: terge recognizes it.',
  ref('layoutName'),
  ref('layoutRule'),
  listOf(several('a name or a rule', 'A layout.', ref('layoutName'), ref('layoutRule'))),
)

/** The layouts of an output. */
export const outputLayout: Schema = several(
  'a name or a list of names',
  'The layout in which the result is written. Models are read in it, and patterns match its names. Default: that of the base.',
  ref('layoutName'),
  listOf(ref('layoutName')),
)
