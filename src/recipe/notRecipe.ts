/** Files that are something else than a recipe: one error instead of one for each of their keys. */
import { nearest, quote } from '../core/suggest.js'
import type { Report } from '../language/report.js'
import type { MapNode } from '../language/tree.js'
import { checkedSchema, type Schema, STEP_KINDS } from './schema.js'

/** A key that only files of one kind have, and what they are. */
const OTHER_FILES: Readonly<Record<string, string>> = {
  model_type: 'the configuration of a model',
  architectures: 'the configuration of a model',
  _class_name: 'the configuration of a pipeline or of one of its modules',
  peft_type: 'the configuration of an adapter',
  weight_map: 'the index of a sharded model',
  tokenizer_class: 'the configuration of a tokenizer',
}

/** What terge writes has keys of recipes too. */
const OWN_FILES: Readonly<Record<string, string>> = { lineage: 'a lineage', lock: 'the lock file of a recipe' }

/** Keys without which nothing is a recipe, whatever other keys it has. */
const OF_RECIPES = ['terge', 'models', 'merge', 'steps', 'output', 'outputs', 'merge_method']

/** Whether a mapping is no recipe at all. Error: `not-a-recipe`. */
export function refuseOtherFile(root: MapNode, file: string, report: Report): boolean {
  const keys = [...root.entries.keys()]
  const refuse = (why: string, hint: string): true => {
    report.error('not-a-recipe', `${quote(file)} is not a recipe: ${why}`, [], { hint })
    return true
  }
  const own = keys.find((key) => Object.hasOwn(OWN_FILES, key))
  if (own !== undefined) return refuse(`it is ${OWN_FILES[own]}`, 'pass the recipe that it was made from')
  if (keys.length === 0 || keys.some((key) => OF_RECIPES.includes(key))) return false
  const mark = keys.find((key) => Object.hasOwn(OTHER_FILES, key))
  if (mark !== undefined)
    return refuse(
      `it is ${OTHER_FILES[mark]}`,
      'name the model in a recipe: models: {NAME: FOLDER}; terge init creates a recipe',
    )
  const known = [...Object.keys(checkedSchema().properties as Schema), ...STEP_KINDS]
  if (keys.some((key) => known.includes(key) || nearest(key, known, 1).length > 0)) return false
  return refuse('it has no key of a recipe', 'start with terge: 1, or run terge init')
}
