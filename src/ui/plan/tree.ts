import { addressIn } from '../../core/names/fileNames.js'
import { ABSENT_REASONS } from '../../core/reasons.js'
import { formatSize, sizeFlag } from '../../core/sizes.js'
import { counted, formatCount } from '../../core/words.js'
import type { AdapterUpdates, BoundedRun, PatternCount, Plan, PlanCheck, PlanOutput, PlanView } from '../../index.js'
import { type Branch, drawTree } from '../fit.js'
import { printable } from '../text.js'
import { modelFiles, summarize } from './summary.js'

const sum = (counts: ReadonlyMap<unknown, number>): number => [...counts.values()].reduce((a, b) => a + b, 0)

const byCount = (counts: ReadonlyMap<string, number>): Branch[] =>
  [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => ({ text: `${printable(name)}: ${formatCount(count)}` }))

const patternText = ({ where, rule, pattern, matches, applies }: PatternCount): string =>
  `${where === 'rule' && rule !== undefined ? `rule ${rule + 1}` : where} ${printable(pattern)}: ` +
  `matches ${counted(matches, 'tensor')}, applies to ${formatCount(applies)}`

/** The checkpoints of an interpolation; only the middle one is shown in detail. */
function pathBranch(points: readonly PlanOutput[]): Branch {
  const middle = points[points.length >> 1]!
  const { point, path, keep, evaluate } = middle
  const folder = path.slice(0, path.lastIndexOf('/') + 1)
  const ends = [points[0]!, points.at(-1)!].map(({ point }) => point!.name).join(' … ')
  const fate = [...(evaluate ? ['evaluated'] : []), ...(keep ? [] : ['not kept'])].join(', ')
  return {
    text: `${printable(folder)}${ends}: ${counted(points.length, 'checkpoint')} along ${printable(point!.step)}${fate === '' ? '' : `, ${fate}`}`,
    branches: [outputBranch(middle)],
  }
}

function outputBranches(outputs: readonly PlanOutput[]): Branch[] {
  const paths = new Map<string, PlanOutput[]>()
  for (const output of outputs) {
    const key = `${output.spec} ${output.point?.step ?? ''}`
    paths.set(key, [...(paths.get(key) ?? []), output])
  }
  return [...paths.values()].flatMap((group) => (group[0]!.point ? [pathBranch(group)] : group.map(outputBranch)))
}

function outputBranch(output: PlanOutput): Branch {
  const { methods, copies, absent, cropped, dtypes, bytes } = summarize(output)
  const branches: Branch[] = []
  const factors = methods.get('extract') ?? 0
  const merged = new Map([...methods].filter(([method]) => method !== 'extract'))
  if (merged.size > 0) branches.push({ text: `merged: ${counted(sum(merged), 'tensor')}`, branches: byCount(merged) })
  if (factors > 0)
    branches.push({ text: `factors: ${counted(factors, 'tensor')} for ${counted(factors / 2, 'layer')}` })
  if (copies.size > 0) branches.push({ text: `copied: ${counted(sum(copies), 'tensor')}`, branches: byCount(copies) })
  for (const { model, reason, tensors } of absent) {
    const why = ABSENT_REASONS[reason]
    branches.push({ text: `without ${printable(model)}, which ${why}: ${counted(tensors, 'tensor')}` })
  }
  if (cropped.length > 0) {
    const each = cropped.map(({ tensor, rows, of, models }) => ({
      text: `${printable(tensor)}: ${formatCount(rows)} of ${formatCount(of)} rows, for ${models.map(printable).join(', ')}`,
    }))
    branches.push({ text: `cropped to common rows: ${counted(cropped.length, 'tensor')}`, branches: each })
  }
  const shares = [...dtypes].map(([dtype, count]) => (dtypes.size === 1 ? dtype : `${dtype} ${formatCount(count)}`))
  const size = `${counted(output.files.length, 'file')}, ${formatSize(bytes)}, ${counted(output.tensors.length, 'tensor')}`
  branches.push({ text: `${size} (${shares.join(', ')})` })
  if (addressIn(output.path) !== undefined)
    branches.push({ text: `uploads ${formatSize(bytes)}; without --disk it needs as much local disk until the end` })
  if (output.sidecars.length > 0)
    branches.push({ text: `other files: ${output.sidecars.map(({ name }) => printable(name)).join(', ')}` })
  return { text: `${printable(output.path)} from ${printable(output.from)}`, branches }
}

/** Lines from a kind of step, made safe to print. */
const safe = ({ text, branches = [] }: Branch): Branch => ({ text: printable(text), branches: branches.map(safe) })

/** The largest matrices that are kept in memory, and roughly how long the work on all of them takes. */
function heldBranches({ cost }: Plan, seconds: number | undefined): Branch[] {
  if (!cost.held || seconds === undefined) return []
  const { tensor, method, bytes } = cost.held
  const time = seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`
  const most = `${formatSize(bytes)} for ${printable(tensor)}`
  return [{ text: `whole matrices in memory (${method}): at most ${most}; about ${time} of work in total` }]
}

/** What an adapter does, in one line. */
function updateText(update: AdapterUpdates | undefined): string {
  if (!update) return ''
  const [ranks, scales] = [update.ranks, update.scales].map((all) => [...all].sort((a, b) => a - b))
  const range = (all: readonly number[]): string => {
    const ends = all.length > 1 ? [all[0]!, all.at(-1)!] : all
    return ends.map((number) => Number(number.toPrecision(6))).join('–')
  }
  const sizes = [
    ...(ranks!.length > 0 ? [`rank ${range(ranks!)}`] : []),
    ...(scales!.length > 0 ? [`scale ${range(scales!)}`] : []),
  ]
  return `: ${[...sizes, `${counted(update.tensors.size, 'tensor')} updated`].join(', ')}`
}

/** The merged vocabulary: its size, and by model the tokens that it gives and the rows that it lacks. */
function vocabularyBranches({ tokenizer, tokenSources = {} }: Plan): Branch[] {
  if (!tokenizer) return []
  const { source, first, tokens, rows, added, models } = tokenizer
  const more = added === 0 ? '' : `, ${formatCount(added)} of them added to those of ${printable(first)}`
  const branches = Object.entries(models).map(([name, { found }]): Branch => {
    const { only = 0, from: copied = {}, means = 0, zeros = 0 } = tokenSources[name] ?? {}
    const has = `${printable(name)}: has ${counted(found, 'token')}${only > 0 ? `, ${formatCount(only)} of them alone` : ''}`
    const others = Object.entries(copied).filter(([other]) => other !== name)
    const lacked = [
      ...others.map(([other, count]) => `${formatCount(count)} from ${printable(other)}`),
      ...(means > 0 ? [`${formatCount(means)} averaged`] : []),
      ...(zeros > 0 ? [`${formatCount(zeros)} zero`] : []),
    ]
    const own = formatCount(copied[name] ?? 0)
    return { text: has, branches: [{ text: `embedding rows of tokens: ${[`${own} own`, ...lacked].join(', ')}` }] }
  })
  const size = `${counted(tokens, 'token')}${more}; ${counted(rows, 'row')} of embeddings`
  return [{ text: `vocabulary (${printable(source)}): ${size}`, branches }]
}

/** What a run would use, or why it is refused. */
function memoryText({ threads, memory, limit }: PlanView): string {
  const most = `memory: at most ${formatSize(memory)} with ${counted(threads, 'thread')}`
  if (memory <= limit) return most
  return `${most}, more than the limit of ${formatSize(limit)}: a run requires --memory ${sizeFlag(memory)}`
}

/** What a run fetches, the least that `--disk` can be, and what a run with the given `--disk` does. */
function downloadBranches({ downloads }: PlanView): Branch[] {
  if (!downloads) return []
  const { bytes, leastDisk, neededFor, bytesAtLeast, diskForOnce, bounded } = downloads
  if (bounded?.stages === 0) return [{ text: '--disk has no effect: all files of the models are on this machine' }]
  const once = diskForOnce === undefined ? '' : `; each file comes once with --disk ${sizeFlag(diskForOnce)}`
  const again = bytesAtLeast > bytes ? `, with which ${formatSize(bytesAtLeast)} are downloaded${once}` : ''
  const what = bytes > 0 ? `to download: ${formatSize(bytes)};` : 'to upload, each file when it is complete:'
  const text = `${what} the least is --disk ${sizeFlag(leastDisk)} (for ${printable(neededFor)})${again}`
  return [{ text, ...(bounded ? { branches: boundedBranches(bounded, bytes) } : {}) }]
}

function boundedBranches({ disk, bytes, stages, unlimited }: BoundedRun, whole: number): Branch[] {
  const often = bytes > whole ? 'files come again' : 'each file comes once'
  const fetched = bytes > 0 ? `downloads ${formatSize(bytes)}, ${often}, ` : ''
  const text = `with --disk ${sizeFlag(disk)}: ${fetched}in ${counted(stages, 'stage')}`
  return [{ text }, ...unlimited.map((note) => ({ text: printable(note) }))]
}

/** A check runs before outputs are written. */
const checkText = ({ outputs: [before], tolerance }: PlanCheck): string =>
  `check before and after: ${printable(before.evaluate!.command.join(' '))}; metrics may differ by ${Number((100 * tolerance).toPrecision(6))} %`

/** What a model is read as, if that is not how it is stored. */
const readText = (layouts: readonly string[] = [], readAs?: readonly string[]): string =>
  readAs ? `, ${layouts.join(', ')} read as ${readAs.join(', ')}` : ''

/** Most models of a pattern that are shown, and how many of them at the end. */
const [MOST_MATCHES, LAST_MATCHES] = [60, 10]

/** Models, and those that a pattern of paths matches together, in their order. */
function inPatterns({ models }: Plan, branchOf: (index: number) => Branch): Branch[] {
  const groups = new Map<string, number[]>()
  for (const [index, { name, pattern }] of models.entries()) {
    const key = pattern === undefined ? `one ${name}` : `all ${pattern}`
    groups.set(key, [...(groups.get(key) ?? []), index])
  }
  return [...groups.values()].flatMap((group) => {
    const { pattern } = models[group[0]!]!
    if (pattern === undefined) return group.map(branchOf)
    const head = group.length > MOST_MATCHES ? MOST_MATCHES - LAST_MATCHES : group.length
    const left = group.length - head - LAST_MATCHES
    const rest = head === group.length ? [] : [{ text: `… ${counted(left, 'more model')}` }]
    const last = head === group.length ? [] : group.slice(-LAST_MATCHES).map(branchOf)
    return [
      {
        text: `${printable(pattern)}: ${counted(group.length, 'model')}, in this order`,
        branches: [...group.slice(0, head).map(branchOf), ...rest, ...last],
      },
    ]
  })
}

/** The plan as a tree of text. */
export function planTree(plan: Plan, view: PlanView, width: number): string {
  const { checks = [] } = plan
  const { heldSeconds, steps: stepLines, analyses, updates } = view
  const models = inPatterns(plan, (i) => {
    const { name, reference, layouts, readAs } = plan.models[i]!
    const { files, bytes } = modelFiles(plan, i)
    const size = `${counted(files, 'file')}, ${formatSize(bytes)}`
    return {
      text: `${printable(name)}: ${printable(reference)} (${size})${updateText(updates.get(i))}${readText(layouts, readAs)}`,
    }
  })
  const steps = plan.steps.map(
    ({ name, kind, patterns }, index): Branch => ({
      text: name === kind ? kind : `${printable(name)}: ${printable(kind)}`,
      branches: [
        ...patterns.map((pattern) => ({ text: patternText(pattern) })),
        ...stepLines[index]!.map(safe),
        ...checks.filter(({ step }) => step === name).map((check) => ({ text: checkText(check) })),
      ],
    }),
  )
  const root: Branch = {
    text: `plan ${plan.digest}`,
    branches: [
      { text: 'models', branches: models },
      { text: 'steps', branches: steps },
      ...(plan.analyses.length > 0 ? [{ text: 'analyses (before merging)', branches: analyses.map(safe) }] : []),
      ...vocabularyBranches(plan),
      { text: plan.outputs.length === 1 ? 'output' : 'outputs', branches: outputBranches(plan.outputs) },
      { text: `arithmetic: ${plan.compute}, seed ${plan.seed}` },
      { text: `to read: ${formatSize(plan.cost.read)}, to write: ${formatSize(plan.cost.write)}` },
      ...downloadBranches(view),
      ...heldBranches(plan, heldSeconds),
      { text: memoryText(view) },
    ],
  }
  return drawTree(root, width)
}
