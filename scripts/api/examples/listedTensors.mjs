import { inspect, listedTensors } from 'terge'

for (const { name, dtype, shape, format } of listedTensors(await inspect('models/base')))
  if (name.endsWith('q_proj.weight')) console.log(name, dtype, shape, format ?? 'not quantized')
