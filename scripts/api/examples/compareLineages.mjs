import { compareLineages, plan, run } from 'terge'

await run(await plan('average.yml', { output: 'out/first.safetensors' }), { threads: 1 })
await run(await plan('average.yml', { output: 'out/second.safetensors', set: ['compute=float64'] }), { threads: 1 })
const { bytes, outputs } = await compareLineages('out/first.safetensors', 'out/second.safetensors')
console.log(bytes, outputs[0]?.tensors)
