import { plan, plannedTensors } from 'terge'

// Of two plans, the tensors that differ.
const first = await plan('average.yml')
const second = await plan('average.yml', { set: ['merge.rules=[{match: "fc1.**", weights: {second: 3}}]'] })
const keys = new Set([...plannedTensors(first.plan)].map(({ key }) => key))
for (const { name, key } of plannedTensors(second.plan)) if (!keys.has(key)) console.log(name)
