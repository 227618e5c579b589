import { finishParts, plan, runPart } from 'terge'

const options = { threads: 1, work: 'out/parts' }
const prepared = await plan('average.yml', { output: 'out/parts.safetensors' })
// Each on any machine, in any order.
for (const index of [1, 0]) {
  const { tensors, bytes } = await runPart(prepared, { index, of: 2 }, options)
  console.log(`part ${index}: ${tensors} tensors, ${bytes} bytes`)
}
const { outputs } = await finishParts(prepared, options)
console.log(Object.keys(outputs[0]?.lineage.tensors ?? {}).length)
