import { plan, run, trace } from 'terge'

const { outputs } = await run(await plan('average.yml', { output: 'out/trace.safetensors' }), { threads: 1 })
const [tensor = ''] = Object.keys(outputs[0]?.lineage.tensors ?? {})
const { linear, weights } = await trace('out/trace.safetensors', tensor, { recipeFolder: '.' })
console.log(
  linear,
  weights.map(({ weight }) => weight),
)
