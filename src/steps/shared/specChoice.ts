/** The schema of the key `spec`, of steps that follow a permutation spec. */
import { ref, type Schema, several, textOrWord } from '../../language/schemaParts.js'
import { FAMILY_NAMES } from '../../rebasin/infer/index.js'

const SPECS = {
  auto: 'Detects the family of the network by names and shapes.',
  ...Object.fromEntries(FAMILY_NAMES.map((name) => [name, `The permutation spec of the ${name} family.`])),
}

export const specChoice = (description: string): Schema =>
  several(
    "auto, a family's name, a file, or the spec itself",
    description,
    textOrWord('auto, the name of a family, or a file.', SPECS),
    ref('spec'),
  )
