import { plan, report, run } from 'terge'

await run(await plan('average.yml', { output: 'out/report.safetensors' }), { threads: 1 })
const page = await report('out/report.safetensors')
console.log(page.startsWith('<!doctype html>'))
const lineage = JSON.parse(await report('out/report.safetensors', 'json'))
console.log(lineage.lineage, Object.keys(lineage.models))
