/** Permutations that a recipe gives as files, instead of a model to align to: read, inverted and composed. */
import { type Diagnostic, Fault } from '../../../core/diagnostics.js'
import { sha256 } from '../../../core/digest.js'
import { didYouMean, quote } from '../../../core/suggest.js'
import { type Cursor, get, isMapping, itemsOf, oneOrMore, textOf } from '../../../language/cursor.js'
import type { Report } from '../../../language/report.js'
import type { Path } from '../../../language/types.js'
import { compose, invert } from '../../../rebasin/apply.js'
import {
  decodePermutations,
  groupsOf,
  MAX_PERMUTATIONS,
  type StoredPermutations,
  specKey,
} from '../../../rebasin/stored.js'
import { FileProblem, readRegularSync } from '../../../storage/local/regular.js'
import type { Locate } from '../../types.js'
import type { GivenFile, GivenPermutations, GivenRead, RebasinStep } from '../types.js'

/** Where a name of the permutations stands in the name of a tensor. */
export const NAME = '{tensor}'

/** Keys that say how to find permutations. */
const FINDING = ['onto', 'models', 'method', 'spec', 'symmetry', 'seed', 'max_iterations', 'statistics']

/** The `permutations` of a step as written. Undefined if it has none. */
export function readGiven(at: Cursor, report: Report): GivenPermutations | undefined {
  const written = get(at, 'permutations')
  const names = get(at, 'names')
  if (!written) {
    if (names)
      report.error('contradiction', "'names' applies to given permutations", names.path, {
        part: 'key',
        hint: 'write permutations: FILE, or remove names',
      })
    return undefined
  }
  for (const key of FINDING) {
    const other = get(at, key)
    if (!other) continue
    const hint = 'permutations are applied as they are: remove one of the two keys'
    report.error('contradiction', `rebasin can’t have both permutations and ${key}`, other.path, { part: 'key', hint })
  }
  for (const [index, template] of itemsOf(names).entries())
    if (textOf(template)?.split(NAME).length !== 2)
      report.error('bad-value', `${quote(textOf(template) ?? '')} must contain ${NAME} once`, [...names!.path, index], {
        hint: `write ${NAME}, or a name around it such as exp_avg.${NAME}`,
      })
  const files = oneOrMore(written).map((one): GivenFile => {
    const inverse = get(one, 'inverse')
    if (isMapping(one) && (inverse === undefined) === (get(one, 'file') === undefined))
      report.error('contradiction', 'an entry of permutations has either file or inverse', one.path, {
        hint: 'write {inverse: FILE}, or {file: FILE, step: NAME}',
      })
    const step = textOf(get(one, 'step'))
    return {
      file: textOf(isMapping(one) ? (inverse ?? get(one, 'file')) : one) ?? '',
      inverse: inverse !== undefined,
      ...(step === undefined ? {} : { step }),
    }
  })
  return { files, names: names ? itemsOf(names).map((item) => textOf(item) ?? NAME) : [NAME] }
}

/** The step with the content of its files, composed in order. Errors: `bad-permutations`, `other-structure`. */
export function readGivenFiles(step: RebasinStep, locate: Locate, report: Report): RebasinStep {
  const { given } = step
  if (!given) return step
  const at: Path = [...step.at, 'permutations']
  const read: (StoredPermutations & GivenRead)[] = []
  for (const file of given.files) {
    const found = fileOf(file, locate)
    if ('permutations' in found) read.push(found)
    else
      for (const { code, message, hint } of found.faults)
        report.error(code, message, at, hint === undefined ? {} : { hint })
  }
  const [first, ...rest] = read
  if (!first || read.length < given.files.length) return step
  const other = rest.find(({ spec }) => specKey(spec) !== specKey(first.spec))
  if (other) {
    report.error('other-structure', `${other.file} permutes another structure than ${first.file}`, at, {
      hint: 'compose permutations of models with the same tensors and groups',
    })
    return step
  }
  const groups = groupsOf(first.spec)
  const permutations = rest.reduce((all, next) => compose(groups, all, next.permutations), first.permutations)
  const untouched = [...new Set(read.flatMap((one) => one.untouched))]
  const files = read.map(({ file, inverse, step, sha256 }) => ({
    ...{ file, inverse, sha256 },
    ...(step === undefined ? {} : { step }),
  }))
  const { family, spec, model } = first
  const content = { files, family, spec, model, onto: read.at(-1)!.onto, untouched, permutations }
  return { ...step, given: { ...given, content } }
}

type Found = (StoredPermutations & GivenRead) | { readonly faults: readonly Diagnostic[] }

function fileOf(given: GivenFile, locate: Locate): Found {
  const { file, step, inverse } = given
  const fail = (message: string, hint?: string): Found => ({
    faults: [{ severity: 'error', code: 'bad-permutations', message, ...(hint === undefined ? {} : { hint }) }],
  })
  try {
    const bytes = readRegularSync(locate(file), MAX_PERMUTATIONS)
    const steps = decodePermutations(bytes, file)
    const names = [...steps.keys()]
    const name = step ?? (names.length === 1 ? names[0]! : undefined)
    if (name === undefined)
      return fail(
        `${file} has the permutations of several steps: ${names.map(quote).join(', ')}`,
        `choose one: {${inverse ? 'inverse' : 'file'}: ${file}, step: ${names[0]}}`,
      )
    const found = steps.get(name)
    if (!found)
      return fail(`${file} has no permutations of a step ${quote(name)}`, didYouMean(name, names, 'its steps'))
    const permutations = inverse ? invert(groupsOf(found.spec), found.permutations) : found.permutations
    const [model, onto] = inverse ? [found.onto, found.model] : [found.model, found.onto]
    return { ...found, ...given, model, onto, permutations, sha256: sha256(bytes) }
  } catch (error) {
    if (error instanceof Fault) return { faults: error.diagnostics }
    if (error instanceof FileProblem) return fail(`${file} ${error.message}`)
    throw error
  }
}
