import { plan, run, stepLine } from 'terge'

const recipe = {
  terge: 1,
  models: { first: 'models/mlp-0.safetensors', second: 'models/mlp-1.safetensors' },
  rebasin: { model: 'second', onto: 'first', spec: 'chain' },
  merge: { method: 'linear' },
  output: 'out/stepLine.safetensors',
}
const { outputs } = await run(await plan(recipe), { threads: 1 })
for (const { lineage } of outputs)
  for (const [name, step] of Object.entries(lineage.steps))
    console.log(stepLine(name, step) ?? `${name}: nothing to add`)
