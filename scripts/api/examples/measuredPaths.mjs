import { measuredPaths, plan, run } from 'terge'

const recipe = {
  terge: 1,
  models: { first: 'models/mlp-0.safetensors', second: 'models/mlp-1.safetensors' },
  steps: {
    path: {
      interpolate: {
        from: 'first',
        to: 'second',
        points: 3,
        keep: false,
        evaluate: { command: ['node', 'evaluate.mjs', '{model}'] },
      },
    },
  },
  output: 'out/measuredPaths',
}
const { outputs } = await run(await plan(recipe), { threads: 1, commands: 'run' })
for (const [step, series] of measuredPaths(outputs.map(({ lineage }) => lineage)))
  for (const { figure, points } of series)
    console.log(
      step,
      figure,
      points.map(({ t, value }) => [t, value.toFixed(3)]),
    )
