/** Computes the permutations or the rotation of an alignment. */
import { Buffer } from 'node:buffer'
import { recordOf } from '../../core/collections/ownValue.js'
import { plural } from '../../core/words.js'
import { identity, type Permutations } from '../../rebasin/apply.js'
import { cycleConsistent, mergeMany } from '../../rebasin/joint.js'
import { type MatchOptions, weightMatching } from '../../rebasin/match.js'
import { arraysOf } from '../../rebasin/orthogonal/arrays.js'
import { orthogonalMatching } from '../../rebasin/orthogonal/matching.js'
import { matchingProducts } from '../../rebasin/score.js'
import type { TensorSource } from '../../rebasin/weights.js'
import type { AnalysisProgress, Found, Workshop } from '../analysis.js'
import { budgetOf } from './cost.js'
import { matchWithActivations, orthogonalActivations } from './measured/analyse.js'
import { sourceOf } from './measured/source.js'
import { digestOf, permutationRecord, recordHead } from './record.js'
import { bestOfSeeds } from './restarts/search.js'
import { matchedSpec } from './spec/matched.js'
import type { RebasinAnalysis, RebasinRecord } from './types.js'

type Tell = (progress: AnalysisProgress) => void
type FoundBySteps = Map<string, Found<RebasinRecord>>

export const findAlignment = (analysis: RebasinAnalysis, workshop: Workshop, tell: Tell) =>
  bestOfSeeds(analysis, workshop, tell, (of, tell) => findOne(of, workshop, tell))

const findOne = (analysis: RebasinAnalysis, workshop: Workshop, tell: Tell): Promise<FoundBySteps> =>
  analysis.given
    ? Promise.resolve(takeGiven(analysis, analysis.given))
    : analysis.method === 'merge-many' || analysis.method === 'c2m3'
      ? matchJointly(analysis, workshop, tell)
      : analysis.symmetry === 'orthogonal'
        ? rotate(analysis, workshop, tell)
        : match(analysis, workshop, tell)

/** The permutations that the plan has. */
function takeGiven(analysis: RebasinAnalysis, { permutations }: NonNullable<RebasinAnalysis['given']>): FoundBySteps {
  const arrays = recordOf(Object.entries(permutations).map(([group, text]) => [group, unpacked(text)]))
  const { onto: _, ...head } = recordHead(analysis, analysis.models[0]!)
  return new Map([
    [analysis.steps[0]!, { record: { ...head, ...permutationRecord(matchedSpec(analysis), arrays) }, arrays }],
  ])
}

function unpacked(text: string): Int32Array {
  const bytes = Buffer.from(text, 'base64')
  return Int32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(4 * i))
}

/** The last progress of a step. */
const aligned = (step: string, before: number, after: number, whole: number): AnalysisProgress => ({
  ...{ step, text: `similarity ${before.toFixed(4)} before, ${after.toFixed(4)} after` },
  ...{ fraction: 1, whole, similarity: after },
})

async function match(analysis: RebasinAnalysis, { reader, team, spare }: Workshop, tell: Tell): Promise<FoundBySteps> {
  const { onto, models, steps, seed, maxIterations } = analysis
  const spec = matchedSpec(analysis)
  const found: FoundBySteps = new Map()
  for (const [index, model] of models.entries()) {
    const step = steps[index]!
    const [a, b] = [sourceOf(onto, reader), sourceOf(model, reader)]
    const options: MatchOptions = {
      seed,
      maxIterations,
      // One start per seed, so that the seed alone gives the same result again.
      ...(analysis.restarts === undefined ? {} : { restarts: 1 }),
      budget: budgetOf(analysis, spare),
      onProgress: ({ restart, restarts, iteration, group, step: at, steps: of, moved, similarity, fraction }) => {
        const sweep = `${restarts > 1 ? `start ${restart + 1} of ${restarts}, ` : ''}sweep ${iteration}`
        const text = `${sweep}, group ${at} of ${of} (${group}): ${plural(moved, 'unit')} moved`
        const whole = (index + fraction) / models.length
        tell({ step, text, fraction, whole, ...(similarity === undefined ? {} : { similarity }) })
      },
    }
    const { correlation, ...result } = analysis.activations
      ? await matchWithActivations(analysis, { reader, team, spare }, { a, b }, options)
      : { ...(await weightMatching(spec, a, b, team, options)), correlation: undefined }
    tell(aligned(step, result.similarityBefore, result.similarityAfter, (index + 1) / models.length))
    found.set(step, {
      record: {
        ...recordHead(analysis, model),
        iterations: result.iterations,
        similarity: { before: result.similarityBefore, after: result.similarityAfter },
        ...(correlation ? { correlation } : {}),
        score: { before: result.scoreBefore, after: result.scoreAfter },
        ...permutationRecord(spec, result.permutations, result.compared),
      },
      arrays: result.permutations,
    })
  }
  return found
}

/** Aligns all models jointly. The first one does not change. */
async function matchJointly(
  analysis: RebasinAnalysis,
  { reader, team, spare }: Workshop,
  tell: Tell,
): Promise<FoundBySteps> {
  const { onto, models, steps, method, seed, maxIterations } = analysis
  const budget = budgetOf(analysis, spare)
  const spec = matchedSpec(analysis)
  const sources = [onto, ...models].map((model) => sourceOf(model, reader))
  const joint = method === 'c2m3' ? cycleConsistent : mergeMany
  const { permutations, scoreBefore, scoreAfter, rounds } = await joint(spec, sources, team, {
    seed,
    maxIterations,
    budget,
    onProgress: (progress) => tell({ step: steps[0]!, ...progress }),
  })
  const stay = identity(spec)
  const [first] = sources
  const productsOf = (a: TensorSource, b: TensorSource, perms: Permutations) =>
    matchingProducts(spec, a, b, perms, { team, budget })
  const squaresOfA = await productsOf(first!, first!, stay)
  const found: FoundBySteps = new Map()
  for (const [index, model] of models.entries()) {
    const [source, perms] = [sources[index + 1]!, permutations[index + 1]!]
    const compared = {
      squaresOfA,
      squaresOfB: await productsOf(source, source, stay),
      before: await productsOf(first!, source, stay),
      after: await productsOf(first!, source, perms),
    }
    const norm = Math.sqrt(squaresOfA.sum * compared.squaresOfB.sum)
    const similarity = { before: compared.before.sum / norm, after: compared.after.sum / norm }
    tell(aligned(steps[index]!, similarity.before, similarity.after, 1))
    found.set(steps[index]!, {
      record: {
        ...recordHead(analysis, model),
        iterations: rounds,
        similarity,
        // Summed over all pairs of models: the objective of the joint matching.
        score: { before: scoreBefore, after: scoreAfter },
        ...permutationRecord(spec, perms, compared),
      },
      arrays: perms,
    })
  }
  return found
}

async function rotate(analysis: RebasinAnalysis, { reader, team, spare }: Workshop, tell: Tell): Promise<FoundBySteps> {
  const { onto, models, steps, maxIterations } = analysis
  const found: FoundBySteps = new Map()
  for (const [index, model] of models.entries()) {
    const step = steps[index]!
    const [a, b] = [sourceOf(onto, reader), sourceOf(model, reader)]
    const activations = orthogonalActivations(analysis, b, reader)
    const result = await orthogonalMatching(a, b, team, {
      ...(activations ? { activations } : {}),
      maxIterations,
      budget: budgetOf(analysis, spare),
      onProgress: ({ round, layer, layers, similarity, fraction }) =>
        tell({
          ...{ step, text: `round ${round}, layer ${layer} of ${layers}`, fraction },
          whole: (index + fraction) / models.length,
          ...(similarity === undefined ? {} : { similarity }),
        }),
    })
    tell(aligned(step, result.similarityBefore, result.similarityAfter, (index + 1) / models.length))
    const { rotation, layout } = result.maps
    found.set(step, {
      record: {
        ...recordHead(analysis, model),
        iterations: result.rounds,
        similarity: { before: result.similarityBefore, after: result.similarityAfter },
        ...(result.correlation ? { correlation: result.correlation } : {}),
        ...(layout.basis === 'kept'
          ? {}
          : {
              rotation: {
                ...{ size: layout.hidden, digest: digestOf(rotation) },
                ...(layout.basis === 'permuted' ? { permuted: true } : {}),
              },
            }),
        ...(Object.keys(layout.kept).length > 0 ? { kept: layout.kept } : {}),
      },
      arrays: arraysOf(result.maps),
    })
  }
  return found
}
