/** The entry point for recipes: reads and checks the whole text. */

import { existsSync } from 'node:fs'
import path from 'node:path'
import type { ErrorCode } from '../core/codes.js'
import { type Diagnostic, hasErrors } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { type Cursor, get, numberOf, textOf, wordOf } from '../language/cursor.js'
import { wrongness } from '../language/errorPlaces.js'
import { applyOverrides } from '../language/overrides.js'
import { makeReport, placeIn, type Report, sortDiagnostics } from '../language/report.js'
import { LONGEST_TEXT, readText } from '../language/source.js'
import { type MapNode, makeBroken, type Node } from '../language/tree.js'
import type { Path as RecipePath } from '../language/types.js'
import { kindOf } from '../steps/index.js'
import { type FolderEntry, folderEntries } from '../storage/local/places.js'
import { FileProblem, readRegularSync } from '../storage/local/regular.js'
import { needed, orderSteps, warnUnused } from './graph.js'
import { expandPatterns } from './matches/expand.js'
import { refuseMatchedOutputs } from './matches/outputs.js'
import type { Groups } from './matches/types.js'
import { type Conversion, isMergekit } from './mergekit/index.js'
import { type OpenOptions, openMergekit } from './mergekit/open.js'
import { inGroups, readModels, withCompanions, withMeasuredFiles } from './models.js'
import { refuseNotModels } from './notModels.js'
import { refuseOtherFile } from './notRecipe.js'
import { readOutputs } from './outputs.js'
import { readSearch } from './search/read.js'
import { readSteps } from './steps.js'
import { checkStructure } from './structure.js'
import { readTokenizerChoice, tokenizerModels } from './tokenizer/read.js'
import { withTransplants } from './tokenizer/transplants.js'
import type { Recipe } from './types.js'

/** Options for reading a recipe. */
export interface LoadOptions {
  /** `KEY=VALUE` overrides, applied in this order. */
  readonly set?: readonly string[]
  /** The text to read instead of the file. `file` then only gives the name and the folder. */
  readonly text?: string
  /** The file's name in messages. Default: `file`. */
  readonly name?: string
  /** An output path from the command line, relative to the working folder. Replaces the path in the recipe. */
  readonly output?: string
  /** Tensor names by model reference. With them, mergekit configurations are converted exactly. */
  readonly known?: ReadonlyMap<string, readonly string[]>
  /** Rows of the embeddings, by the same references. */
  readonly rows?: ReadonlyMap<string, number>
  /** Names of models that are adapters. Methods on task vectors need no base for them. */
  readonly adapters?: ReadonlySet<string>
  /** Whether settings that mergekit ignores are errors. */
  readonly strict?: boolean
  /** Where a local file that the recipe refers to is read from, by its absolute path. Default: at that path. */
  readonly place?: (file: string) => string
  /** The entries of a local folder in which a pattern of paths looks. Default: those at its place. */
  readonly entries?: (folder: string) => readonly FolderEntry[] | undefined
  /** References of models that patterns of paths match, in place of what is on the disk: those of an earlier run. */
  readonly matched?: readonly string[]
  /** False: a pattern of paths that matches nothing is allowed, because the models are elsewhere. */
  readonly models?: boolean
}

/** What is known from the text of a recipe. */
export interface Loaded {
  /** Absent if any diagnostic is an error. */
  readonly recipe?: Recipe
  /** After errors: the parts that could be read. For finding further errors, not for running. */
  readonly draft?: Recipe
  /** With a draft: whether an error may affect the value at a path, including its key. */
  readonly isWrong?: (at: RecipePath) => boolean
  /** Errors and warnings, sorted by place, without duplicates. */
  readonly diagnostics: readonly Diagnostic[]
  /** For a mergekit configuration: the converted recipe, even if it has errors. */
  readonly conversion?: Conversion
}

/**
 * Reads a recipe and checks everything that does not need the headers of the models. Never throws for mistakes in the
 * recipe.
 */
export function loadRecipe(file: string, options: LoadOptions = {}): Loaded {
  const name = options.name ?? file
  const read = options.text === undefined ? readFile(file, name, true) : { text: options.text }
  if ('fault' in read) return { diagnostics: [read.fault] }
  const source = readText(name, read.text)
  const folder = path.dirname(path.resolve(file))
  const conversion =
    source.root && isMergekit(source.root) ? openMergekit(name, read.text, mergekitOptions(folder, options)) : undefined
  const faults = [...(conversion?.diagnostics ?? source.faults)]
  let root: Node = source.root ?? makeBroken({ origin: { file: name, text: '', lines: [0] }, start: 0, end: 0 })
  /** Whether there are errors after which any part of the recipe may be wrong. */
  let before = false
  /** Whether the number of models is unknown, because of a pattern that matches nothing. */
  let open = false
  const done = (recipe?: Recipe): Loaded => {
    const diagnostics = sortDiagnostics(faults, name, options.set ?? [])
    const loaded = { diagnostics, ...(conversion ? { conversion } : {}) }
    if (!recipe) return loaded
    return hasErrors(diagnostics)
      ? { ...loaded, draft: recipe, isWrong: wrongness(root, diagnostics, before) }
      : { ...loaded, recipe: { ...recipe, warnings: diagnostics } }
  }
  if (!source.root || (conversion && !conversion.root)) return done()
  const overridden = conversion?.root
    ? { root: conversion.root, faults: [] }
    : applyOverrides(source.root, (options.set ?? []).map(ownOption))
  faults.push(...overridden.faults)
  root = overridden.root
  const report = makeReport(() => root)
  const finish = (recipe?: Recipe): Loaded => {
    before = faults.some(({ severity, code }) => severity === 'error' && code !== 'duplicate-key')
    // A name that is written twice loses one model, so the number of models is unknown.
    const fewer = wrongness(root, faults, false)(['models', ''])
    const needless = [...(fewer || open ? ['model-count'] : []), ...(open ? ['weight-count'] : [])]
    faults.push(...report.diagnostics.filter(({ code }) => !needless.includes(code)))
    return done(recipe)
  }
  if (root.kind !== 'map') {
    report.error('bad-type', 'a recipe must be a mapping', [], { hint: 'start with terge: 1' })
    return finish()
  }
  if (!conversion && refuseOtherFile(root, name, report)) return finish()
  const start: Cursor<MapNode> = { node: root, path: [] }
  if (source.several && !conversion)
    report.error('several-documents', 'a recipe must be one YAML document', [], {
      hint: 'remove everything after the second ---',
    })
  const version = get(start, 'terge')
  if (version && /^[2-9]\d*$|^1\.\d+$|^0$/.test(wordOf(version) ?? '')) {
    const message = `the recipe uses version ${wordOf(version)} of the recipe language; this terge reads version 1`
    report.error('unsupported-version', message, version.path, { hint: 'update terge, or write terge: 1' })
    return finish()
  }
  const checked = checkStructure(root, report, (next) => {
    root = next
  })
  root = checked
  const looking = lookingIn(folder, options)
  const expanded = conversion
    ? { root: checked, groups: new Map(), open: false }
    : expandPatterns(checked, looking, report)
  const whole = expanded.root
  root = whole
  open = expanded.open
  const found = readMeaning({ node: whole, path: [] }, folder, { ...options, groups: expanded.groups }, report)
  // The outputs of an earlier run can be elsewhere than the recipe says.
  if (!options.matched) refuseMatchedOutputs(found.outputs, expanded.groups, looking.resolve, report)
  return finish({
    ...found,
    file: name,
    text: read.text,
    overrides: [...(options.set ?? [])],
    placeOf: (at, part, within) => placeIn(whole, at, part, within),
    warnings: [],
    ...(conversion ? { converted: true } : {}),
  })
}

/** Options of mergekit's command line as keys of a recipe. */
const ownOption = (text: string): string =>
  text.replace(/^random_seed=/, 'seed=').replace(/^out_shard_size=/, 'output.shard_size=')

const mergekitOptions = (folder: string, { set, known, rows, strict, place }: LoadOptions): OpenOptions => ({
  folder,
  working: process.cwd(),
  exists: place ? (file) => existsSync(place(file)) : existsSync,
  known: known ?? new Map(),
  rows: rows ?? new Map(),
  set: set ?? [],
  strict: strict ?? false,
})

/** After these errors it is unknown which step uses which. */
const BREAKS_GRAPH = [
  'unknown-model',
  'bad-type',
  'bad-value',
  'missing-key',
  'contradiction',
  'name-taken',
  'misplaced-step',
]

/** Where the patterns of a recipe look. */
function lookingIn(folder: string, { place = (file) => file, entries, matched, models = true }: LoadOptions) {
  return {
    resolve: (written: string) => path.resolve(folder, written),
    place,
    entries: entries ?? ((inside: string) => folderEntries(place(inside))),
    listed: matched,
    freeLinks: entries !== undefined,
    must: models,
  }
}

type Meaning = Omit<Recipe, 'file' | 'text' | 'overrides' | 'placeOf' | 'warnings'>

function readMeaning(
  root: Cursor,
  folder: string,
  options: LoadOptions & { readonly groups: Groups },
  report: Report,
): Meaning {
  const { groups } = options
  const models = inGroups(readModels(get(root, 'models'), report), groups)
  const { place = (file: string) => file } = options
  const locate = (written: string): string => place(path.resolve(folder, written))
  const { linked: written, scope } = readSteps(root, {
    models,
    groups,
    report,
    ...(options.adapters ? { adapters: options.adapters } : {}),
  })
  const { ordered, cyclic } = orderSteps(written, report)
  const sound = !cyclic && !report.diagnostics.some(({ code }) => BREAKS_GRAPH.includes(code))
  const context = { scope, steps: written, folder, override: options.output, sound }
  const tokenizer = readTokenizerChoice(get(root, 'tokenizer'), models, report)
  const { linked, outputs } = withTransplants(
    ...([written, readOutputs(root, context), tokenizer, get(root, 'tokenizer'), models.keys()] as const),
  )
  refuseNotModels(linked, report)
  const used = needed(
    outputs.map(({ from }) => from),
    linked,
  )
  const chatTemplate = textOf(get(root, 'chat_template'))
  const search = readSearch(root, report)
  for (const name of tokenizerModels(tokenizer, chatTemplate, models)) used.add(name)
  if (!hasErrors(report.diagnostics)) warnUnused(models.keys(), groups, linked, used, report)
  // If the graph has errors, it is unknown which steps are needed. A draft then has all of them, to check their
  // patterns.
  const steps = [...ordered, ...linked.slice(written.length).map(({ step }) => step)]
    .filter(({ name }) => used.has(name) || !sound)
    .map((step) => kindOf(step).readFiles?.(step, locate, readNamed, report) ?? step)
  return {
    folder,
    locate,
    groups,
    ...withMeasuredFiles(withCompanions(models), steps),
    outputs,
    compute: textOf(get(root, 'compute')) === 'float64' ? 'float64' : 'float32',
    seed: numberOf(get(root, 'seed')) ?? 0,
    tokenizer: tokenizer?.transplant ? undefined : tokenizer,
    chatTemplate,
    ...(search ? { search } : {}),
  }
}

/** In bytes. */
const MOST_BYTES = 4 * LONGEST_TEXT

/** The text of a file that a recipe refers to. It must be a regular file. */
const readNamed = (file: string, name: string) => readFile(file, name, false)

/**
 * `pipes`: accept a pipe, such as the shell's process substitution. Errors: `missing-recipe`, `unreadable-recipe`,
 * `too-long`, `bad-encoding`.
 */
function readFile(file: string, name: string, pipes: boolean): { text: string } | { fault: Diagnostic } {
  const fail = (code: ErrorCode, message: string, hint?: string): { fault: Diagnostic } => ({
    fault: { severity: 'error', code, message, ...(hint === undefined ? {} : { hint }) },
  })
  let content: Buffer
  try {
    content = readRegularSync(file, MOST_BYTES, { pipes })
  } catch (error) {
    if (!(error instanceof FileProblem)) throw error
    const { code, kind, message } = error
    if (kind === 'missing')
      return fail('missing-recipe', `there is no file ${quote(name)}`, 'check the path; terge init writes a new recipe')
    if (code === 'EISDIR')
      return fail('unreadable-recipe', `${quote(name)} is a folder`, 'pass the recipe file inside it')
    if (kind === 'size')
      return fail(
        'too-long',
        `${quote(name)} is larger than ${MOST_BYTES} bytes`,
        'make sure that the file is a recipe',
      )
    return fail('unreadable-recipe', `${quote(name)} ${message}`, 'check the path and its permissions')
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(content) }
  } catch {
    return fail('bad-encoding', `${quote(name)} is not UTF-8: ${firstBadLine(content)}`, 'save it as UTF-8')
  }
}

function firstBadLine(content: Buffer): string {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let line = 1, start = 0; start < content.length; line++) {
    const end = content.indexOf(10, start)
    try {
      decoder.decode(content.subarray(start, end < 0 ? content.length : end))
    } catch {
      return `line ${line}`
    }
    start = end < 0 ? content.length : end + 1
  }
  return 'its end'
}
