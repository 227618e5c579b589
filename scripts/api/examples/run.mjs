import { plan, run } from 'terge'

const prepared = await plan('average.yml', { output: 'out/run.safetensors' })
const { outputs, warnings } = await run(prepared, {
  threads: 1,
  listen: (event) => event.kind === 'output' && console.log(`${event.tensors} tensors, ${event.bytes} bytes`),
})
for (const { lineage } of outputs)
  console.log(lineage.tensors['fc1.weight']?.sources.map(({ model, weight }) => `${model} ${weight}`))
console.log(warnings.length)
