// Aligns models through the library: reads jobs as JSON lines, and writes what happened to each as a JSON line.
import { createInterface } from 'node:readline'
import { Fault, plan, run } from '../../dist/src/index.js'

const told = ({ code, message, hint }) => ({ code, message, ...(hint === undefined ? {} : { hint }) })

async function align({ a, b, out, spec, symmetry }) {
  const recipe = {
    terge: 1,
    models: { a, b },
    steps: { aligned: { rebasin: { model: 'b', onto: 'a', spec, symmetry } } },
    output: { path: out, from: 'aligned' },
  }
  try {
    const prepared = await plan(recipe)
    const { outputs } = await run(prepared, { threads: 1, sync: false, digests: false })
    const [analysis] = prepared.plan.analyses
    const record = outputs[0].lineage.steps.aligned
    const { groups = {}, rotation } = record
    const unitsOf = ({ size, inside }) => (inside === undefined ? size : size * groups[inside].size)
    return {
      warnings: prepared.diagnostics.map(told),
      family: analysis.family,
      // The places of the stream that turned. Without them, heads and feed-forward units can have moved all the same.
      moved: record.moved ?? rotation?.size ?? 1,
      ...(symmetry === 'orthogonal' ? { basis: rotation ? (rotation.permuted ? 'permuted' : 'rotated') : 'kept' } : {}),
      units: Object.values(groups).reduce((sum, group) => sum + unitsOf(group), 0),
      groups: Object.keys(groups).length,
      tensors: analysis.onto.tensors.map(({ name }) => name),
      kept: record.kept ?? {},
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { errors: error.diagnostics.filter(({ severity }) => severity === 'error').map(told) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  process.stdout.write(`${JSON.stringify(await align(job))}\n`)
}
