import { sha256 } from '../core/digest.js'
import { emptyTable } from '../core/ownValue.js'
import type { AnalysisModel, AnalysisTensor } from '../expr/types.js'
import { modelBytes, PARTS, tensorsOf } from '../plan/analysisCost.js'
import type { Plan } from '../plan/types.js'
import { axisMaps, gather, identity, type Permutations, rootGroups, unitsMoved } from '../rebasin/apply.js'
import { cycleConsistent, mergeMany } from '../rebasin/joint.js'
import { weightMatching } from '../rebasin/match.js'
import { orthogonalChanges, orthogonalMatching } from '../rebasin/orthogonal.js'
import { changedTensor } from '../rebasin/products.js'
import { correlatedVariance } from '../rebasin/repair.js'
import { matchingScore } from '../rebasin/score.js'
import { readSpec, type Spec } from '../rebasin/spec.js'
import { createPool, type Pool, sharedCopy } from '../rebasin/team.js'
import { createWeights, type TensorSource, type WeightsBudget } from '../rebasin/weights.js'
import type { RebasinAnalysis } from '../steps/rebasin/types.js'
import type { RepairAnalysis } from '../steps/repair/types.js'
import type { Listener } from './events.js'
import { type Findings, NO_FINDINGS, noFactor } from './findings.js'
import { refuseInterrupted } from './interrupted.js'
import { type LocalReader, openLocal, type Reading } from './pools/inline.js'

export interface AnalyseOptions {
  readonly threads: number
  /** Bytes of anonymous memory for the analyses; what they need at the least is there. */
  readonly memory: number
  readonly listen: Listener
  readonly signal?: AbortSignal
}

interface Doing extends AnalyseOptions {
  /** Bytes beyond what the analysis needs at the least. */
  readonly spare: number
}

type Found = {
  readonly maps: Map<string, Findings['maps']>
  readonly computed: Map<string, (tensor: string) => Promise<Float32Array>>
  readonly records: Map<string, Readonly<Record<string, unknown>>>
  scopes: Findings['scopes']
}

/** Bytes. */
const LARGEST_PART = 64 * 2 ** 20

/** Does a plan's analyses in their order. The reader stays open for what is computed later: close it when the run is over. */
export async function analyse(
  plan: Plan,
  inputs: readonly string[],
  module: WebAssembly.Module,
  options: AnalyseOptions,
): Promise<{ findings: Findings; close: () => Promise<void> }> {
  if (plan.analyses.length === 0) return { findings: NO_FINDINGS, close: async () => {} }
  const found: Found = { maps: new Map(), computed: new Map(), records: new Map(), scopes: [] }
  const findings: Findings = {
    maps: (alignment, shape) => known(found.maps, alignment.step)(alignment, shape),
    computed: (step, tensor) => known(found.computed, step)(tensor),
    factor: noFactor,
    get scopes() {
      return found.scopes
    },
    records: found.records,
  }
  const reader = openLocal(plan, inputs, module, plan.analyses.flatMap(tensorsOf), () => findings)
  const pool = createPool(options.threads)
  const { signal } = options
  // Who waits for a long product or assignment is sent away at once.
  const stop = () => void pool.close()
  signal?.addEventListener('abort', stop)
  const close = async () => {
    signal?.removeEventListener('abort', stop)
    reader.close()
    await pool.close()
  }
  try {
    for (const [index, analysis] of plan.analyses.entries()) {
      refuseInterrupted(signal)
      const doing: Doing = { ...options, spare: Math.max(0, options.memory - plan.cost.analyses![index]!.bytes) }
      found.scopes = await reader.scopes(tensorsOf(analysis))
      if (analysis.kind === 'repair') await repair(analysis, reader, found)
      else if (analysis.method !== 'weight-matching') await permuteJointly(analysis, reader, pool, doing, found)
      else if (analysis.symmetry === 'orthogonal') await rotate(analysis, reader, pool, doing, found)
      else await permute(analysis, reader, pool, doing, found)
    }
  } catch (error) {
    await close()
    refuseInterrupted(signal)
    throw error
  }
  return { findings, close }
}

function known<T>(map: ReadonlyMap<string, T>, step: string): T {
  const value = map.get(step)
  if (value === undefined) throw new Error(`internal: step ${step} has not been done`)
  return value
}

function sourceOf({ tensors, config }: AnalysisModel, reader: Reading): TensorSource {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  return {
    tensors: byName,
    read: (name) => reader.read(byName.get(name)!),
    readRows: (name, rows, into) => reader.readRows(byName.get(name)!, rows, into),
    ...(config ? { config } : {}),
  }
}

async function permute(
  analysis: RebasinAnalysis,
  reader: LocalReader,
  pool: Pool,
  { listen, spare }: Doing,
  found: Found,
): Promise<void> {
  const { onto, models, steps, seed, maxIterations } = analysis
  const budget = budgetOf(analysis, spare)
  const spec = readSpec(analysis.spec, new Map(onto.tensors.map((tensor) => [tensor.name, tensor])))
  for (const [index, model] of models.entries()) {
    const step = steps[index]!
    const result = await weightMatching(spec, sourceOf(onto, reader), sourceOf(model, reader), pool, {
      seed,
      maxIterations,
      budget,
      onProgress: ({ restart, iteration, group, step: at, steps: of, moved }) => {
        const sweep = `${restart > 0 ? `start ${restart + 1}, ` : ''}sweep ${iteration}`
        listen({ kind: 'step', step, text: `${sweep}, group ${at} of ${of} (${group}): ${moved} units moved` })
      },
    })
    record(analysis, spec, step, model, reader, result.permutations, found, {
      iterations: result.iterations,
      similarity: { before: result.similarityBefore, after: result.similarityAfter },
      score: { before: result.scoreBefore, after: result.scoreAfter },
    })
  }
}

/** All models at once; the first stays where it is. */
async function permuteJointly(
  analysis: RebasinAnalysis,
  reader: LocalReader,
  pool: Pool,
  { listen, spare }: Doing,
  found: Found,
): Promise<void> {
  const { onto, models, steps, method, seed, maxIterations } = analysis
  const budget = budgetOf(analysis, spare)
  const spec = readSpec(analysis.spec, new Map(onto.tensors.map((tensor) => [tensor.name, tensor])))
  const sources = [onto, ...models].map((model) => sourceOf(model, reader))
  const joint = method === 'c2m3' ? cycleConsistent : mergeMany
  const { permutations, scoreBefore, scoreAfter, rounds } = await joint(spec, sources, pool, {
    seed,
    maxIterations,
    budget,
    onRound: ({ round, model }) =>
      listen({ kind: 'step', step: steps[0]!, text: `round ${round}, model ${model + 1} of ${sources.length}` }),
  })
  const stay = identity(spec)
  const [first] = sources
  const score = (a: TensorSource, b: TensorSource, perms: Permutations) =>
    matchingScore(spec, a, b, perms, { pool, budget })
  const squared = await score(first!, first!, stay)
  for (const [index, model] of models.entries()) {
    const [source, perms] = [sources[index + 1]!, permutations[index + 1]!]
    const norm = Math.sqrt(squared * (await score(source, source, stay)))
    record(analysis, spec, steps[index]!, model, reader, perms, found, {
      iterations: rounds,
      similarity: {
        before: (await score(first!, source, stay)) / norm,
        after: (await score(first!, source, perms)) / norm,
      },
      // Of all pairs of models together: it is what the joint matching climbs.
      score: { before: scoreBefore, after: scoreAfter },
    })
  }
}

/** What the lineage tells of any alignment of a model. */
const recordHead = ({ onto, method, symmetry, family, seed }: RebasinAnalysis, { name }: AnalysisModel) => ({
  model: name,
  onto: onto.name,
  method,
  symmetry,
  family,
  seed,
})

/** Keeps permutations for reading, and notes for the lineage what they are. */
function record(
  analysis: RebasinAnalysis,
  spec: Spec,
  step: string,
  model: AnalysisModel,
  reader: LocalReader,
  permutations: Permutations,
  found: Found,
  figures: Readonly<Record<string, unknown>>,
): void {
  found.maps.set(step, ({ tensor }, shape) => axisMaps(spec, permutations, tensor, shape))
  const { tensors, read } = sourceOf(model, reader.inner)
  found.computed.set(step, async (name) => {
    const { shape } = tensors.get(name)!
    return sharedCopy(gather(await read(name), shape, axisMaps(spec, permutations, name, shape)))
  })
  const inner = Object.keys(spec.groups).filter((name) => spec.groups[name]!.inside !== undefined)
  const groups = [...rootGroups(spec), ...inner].map((group) => [
    group,
    {
      // Of a group inside another: in each of its units.
      ...spec.groups[group]!,
      moved: unitsMoved(spec, permutations, group),
      permutation: sha256(new Uint8Array(littleEndian(permutations[group]!))),
    },
  ])
  found.records.set(step, {
    ...recordHead(analysis, model),
    ...figures,
    moved: unitsMoved(spec, permutations),
    groups: Object.fromEntries(groups),
    ...(Object.keys(spec.kept).length > 0 ? { kept: spec.kept } : {}),
  })
}

/** The same bytes on every machine. */
function littleEndian(values: Int32Array): ArrayBuffer {
  const bytes = new DataView(new ArrayBuffer(4 * values.length))
  for (const [index, value] of values.entries()) bytes.setInt32(4 * index, value, true)
  return bytes.buffer
}

async function rotate(
  analysis: RebasinAnalysis,
  reader: LocalReader,
  pool: Pool,
  { listen, spare }: Doing,
  found: Found,
): Promise<void> {
  const { onto, models, steps, maxIterations } = analysis
  const budget = budgetOf(analysis, spare)
  for (const [index, model] of models.entries()) {
    const step = steps[index]!
    const source = sourceOf(model, reader)
    const result = await orthogonalMatching(sourceOf(onto, reader), source, pool, {
      maxIterations,
      budget,
      onProgress: ({ round, similarity }) => {
        listen({
          kind: 'step',
          step,
          text: `round ${round}: similarity ${similarity.toFixed(4)}`,
          fraction: round / maxIterations,
        })
      },
    })
    // Whoever asks for it may be reading.
    const weights = createWeights(sourceOf(model, reader.inner), { ...budget, kept: 0 })
    found.computed.set(step, (name) => {
      const changes = orthogonalChanges(result.maps, name, source.tensors.get(name)!.shape)
      return changes.length === 0 ? weights.get(name) : changedTensor(weights, name, changes, pool)
    })
    const { hidden, rotation } = result.maps
    found.records.set(step, {
      ...recordHead(analysis, model),
      iterations: result.rounds,
      similarity: { before: result.similarityBefore, after: result.similarityAfter },
      rotation: { size: hidden, digest: sha256(new Uint8Array(Float64Array.from(rotation).buffer)) },
    })
  }
}

/** Of what an analysis may take beyond the least, half for each of the two models that it compares. */
function budgetOf({ onto }: RebasinAnalysis, spare: number): WeightsBudget {
  const least = modelBytes(onto)
  const more = spare / 2
  // Larger parts are no faster; what is kept need not be read again.
  const part = Math.min(LARGEST_PART, least.part + more / (4 * PARTS))
  return { part, kept: least.whole + Math.max(0, more - PARTS * (part - least.part)) }
}

async function repair({ step, norms, left }: RepairAnalysis, reader: LocalReader, found: Found): Promise<void> {
  const values = new Map<string, Float32Array>()
  const changed = emptyTable<unknown>()
  for (const { tensor, weights, variances, filters } of norms) {
    const read = (tensors: readonly AnalysisTensor[]) => Promise.all(tensors.map((one) => reader.read(one)))
    const [own, feeding] = [await read(variances), await read(filters)]
    values.set(tensor, sharedCopy(correlatedVariance(own, feeding, weights)))
    changed[tensor] = { channels: variances[0]!.shape[0] ?? 1 }
  }
  found.computed.set(step, async (tensor) => known(values, tensor))
  found.records.set(step, {
    batch_norm: 'correlation',
    repaired: changed,
    ...(Object.keys(left).length > 0 ? { kept: left } : {}),
  })
}
