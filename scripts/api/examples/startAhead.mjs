import { plan, run, startAhead } from 'terge'

// One worker starts while the recipe is read.
startAhead(1)
const prepared = await plan('average.yml', { output: 'out/startAhead.safetensors' })
const { outputs } = await run(prepared, { threads: 1 })
console.log(outputs.length)
