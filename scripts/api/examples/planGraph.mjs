import { plan, planGraph } from 'terge'

const { nodes, edges } = planGraph((await plan('rebasin.yml')).plan)
for (const { id, kind, lines } of nodes) console.log(id, kind, lines[0])
console.log(edges.map(({ from, to }) => `${from} → ${to}`).join(', '))
