import { plan, run, stepNotes } from 'terge'

const spec = {
  tensors: { 'fc1.weight': ['fc1'], 'fc1.bias': ['fc1'], 'fc2.weight': [null, 'fc1'] },
  kept: { fc2: 'its units feed a sorted activation' },
}
const recipe = {
  terge: 1,
  models: { first: 'models/mlp-0.safetensors', second: 'models/mlp-1.safetensors' },
  rebasin: { model: 'second', onto: 'first', spec },
  merge: { method: 'linear' },
  output: 'out/stepNotes.safetensors',
}
const { outputs } = await run(await plan(recipe), { threads: 1 })
for (const { lineage } of outputs)
  for (const step of Object.values(lineage.steps)) for (const note of stepNotes(step)) console.log(note)
