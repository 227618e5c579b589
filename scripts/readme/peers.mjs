// Recorded comparisons with other tools.
import { readFileSync } from 'node:fs'
import { table } from './markdown.mjs'

const results = () => JSON.parse(readFileSync(new URL('../../bench/results.json', import.meta.url), 'utf8'))
const amount = (seconds, memory) => `${seconds} s${memory ? `, ${memory}` : ''}`

export function peerTable() {
  const all = results()
  const machines = [...new Set(all.map(({ date, machine }) => `${date}: ${machine}`))]
  return `${table(
    ['task', 'other tool', 'its time and peak memory', 'terge', 'ratio', 'date'],
    all.map((r) => [
      r.task,
      r.peer,
      amount(r.peerSeconds, r.peerMemory),
      amount(r.tergeSeconds, r.tergeMemory),
      `${(r.peerSeconds / r.tergeSeconds).toFixed(r.peerSeconds / r.tergeSeconds < 10 ? 1 : 0)} ×`,
      r.date,
    ]),
  )}\n\nMachines: ${machines.join('; ')}.`
}
