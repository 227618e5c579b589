import { plan } from 'terge'

const { plan: planned } = await plan('average.yml', { output: 'out/plan.safetensors' })
console.log(planned.cost)
for (const { name, shape, dtype, expr } of planned.outputs[0]?.tensors ?? []) console.log(name, shape, dtype, expr.kind)
