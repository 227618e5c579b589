/** Files that are not recipes: one error for the file instead of one error per key. */
import { nearest, quote } from '../core/suggest.js'
import type { Report } from '../language/report.js'
import type { MapNode } from '../language/tree.js'
import { checkedSchema, type Schema, STEP_KINDS } from './schema.js'

/** Keys that occur in only one kind of file, and what that file is. */
const OTHER_FILES: Readonly<Record<string, string>> = {
  model_type: 'the configuration of a model',
  architectures: 'the configuration of a model',
  _class_name: 'the configuration of a pipeline or of one of its modules',
  peft_type: 'the configuration of an adapter',
  weight_map: 'the index of a sharded model',
  tokenizer_class: 'the configuration of a tokenizer',
}

/** Files that terge writes, which also have keys of recipes. */
const OWN_FILES: Readonly<Record<string, string>> = { lineage: 'a lineage', lock: 'the lock file of a recipe' }

/** A recipe has at least one of these keys. */
const OF_RECIPES = ['terge', 'models', 'merge', 'steps', 'output', 'outputs', 'merge_method']

/** Whether a mapping is not a recipe. Error: `not-a-recipe`. */
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
