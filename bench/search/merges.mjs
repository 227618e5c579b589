// Merges by terge's API and their metrics: one recipe, many settings, one evaluating process.
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))

/** `evaluate(folder)` gives the metrics of a model; `end()` stops the process. */
export function evaluator(python, passages, work) {
  const file = path.join(work, 'passages.json')
  writeFileSync(file, JSON.stringify(passages))
  const child = spawn(python, [path.join(here, 'evaluate.py'), file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async evaluate(folder) {
      child.stdin.write(`${folder}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error('the evaluating process ended')
      return JSON.parse(value)
    },
    end: () => child.stdin.end(),
  }
}

/** Metrics that an earlier run of the same recipe on the same passages left in `metrics.jsonl`. */
function remembered(file, identity) {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  if (lines[0] !== JSON.stringify(identity)) {
    writeFileSync(file, `${JSON.stringify(identity)}\n`)
    return new Map()
  }
  return new Map(lines.slice(1).map((line) => JSON.parse(line)))
}

/** Makes a merge with `--set` overrides, measures it, and remembers the metrics. */
export async function measured(recipe, { python, passages, work }) {
  const { plan, run } = await import('../../dist/src/index.js')
  mkdirSync(work, { recursive: true })
  const file = path.join(work, 'recipe.yml')
  writeFileSync(file, recipe)
  const { evaluate, end } = evaluator(python, passages, work)
  const log = path.join(work, 'metrics.jsonl')
  const known = remembered(log, { recipe, passages })
  return {
    end,
    evaluate,
    async measure(set) {
      const key = JSON.stringify(set)
      if (!known.has(key)) {
        const output = path.join(work, 'out')
        const prepared = await plan(file, { set, output })
        await run(prepared, { force: true, sync: false, digests: 'none', threads: 1 })
        known.set(key, await evaluate(output))
        appendFileSync(log, `${JSON.stringify([key, known.get(key)])}\n`)
      }
      return known.get(key)
    },
  }
}
