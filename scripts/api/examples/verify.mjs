import { plan, run, verify } from 'terge'

const prepared = await plan('average.yml', { output: 'out/verify.safetensors' })
await run(prepared, { threads: 1 })
const { ok, problems, checked } = await verify('out/verify.safetensors', { recipeFolder: '.' })
console.log(ok, problems.length, checked)
