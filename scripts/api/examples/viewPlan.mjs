import { plan, viewPlan } from 'terge'

const { threads, memory, limit } = viewPlan((await plan('average.yml')).plan, { threads: 1 })
console.log(threads, memory < limit)
