// Runs commands and tells their wall clock, processor time and anonymous memory.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))

/** Compiles one of our C programs into `folder`, under its own name or another one, and gives its path. */
export function compile(name, folder, flags = [], as = path.basename(name)) {
  const program = path.join(folder, as)
  const words = ['-O2', ...flags, '-pthread', '-o', program, path.join(here, `${name}.c`)]
  const { status, stderr, error } = spawnSync('cc', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${name}.c does not compile: ${error?.message ?? stderr}`)
  return program
}

const kilobytes = (file, key) => {
  try {
    const [, number] = new RegExp(`^${key}:\\s*(\\d+) kB`, 'm').exec(readFileSync(file, 'utf8')) ?? []
    return number === undefined ? 0 : Number(number) * 1024
  } catch {
    // It has ended.
    return 0
  }
}

/** Milliseconds between looks at a process. RssAnon is a counter that the kernel keeps; the rollup walks all pages. */
const EVERY = { RssAnon: 20, rollup: 100 }

/**
 * Runs `[program, ...arguments]`. Peak anonymous memory is sampled: with `memory`, from `RssAnon` of /proc/PID/status and
 * `Anonymous` of /proc/PID/smaps_rollup; otherwise not at all, so that the clock measures nothing but the command. With
 * `seconds`, a command that takes longer is ended then.
 */
export function measure(timed, command, { cwd, memory = false, seconds } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(timed, command, { cwd, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
    let told = ''
    let complaint = ''
    let ended = false
    const peak = { RssAnon: 0, rollup: 0 }
    const timers = []
    const look = (pid, kind, file, key) => {
      const sample = () => {
        peak[kind] = Math.max(peak[kind], kilobytes(`/proc/${pid}/${file}`, key))
      }
      timers.push(setInterval(sample, EVERY[kind]))
    }
    child.stdio[3].on('data', (chunk) => {
      const first = told === ''
      told += chunk
      const pid = Number.parseInt(told, 10)
      const end = () => {
        ended = true
        process.kill(pid, 'SIGKILL')
      }
      if (first && seconds !== undefined) timers.push(setTimeout(end, 1000 * seconds))
      if (!first || !memory) return
      look(pid, 'RssAnon', 'status', 'RssAnon')
      look(pid, 'rollup', 'smaps_rollup', 'Anonymous')
    })
    child.stderr.on('data', (chunk) => {
      complaint = (complaint + chunk).slice(-4000)
    })
    child.on('error', reject)
    child.on('close', (code) => {
      for (const timer of timers) clearInterval(timer)
      if (code !== 0 && !ended) return reject(new Error(`${command.join(' ')}\nended with ${code}:\n${complaint}`))
      const [wall, user, system] = told.split('\n')[1].split(' ').map(Number)
      resolve({ wall, user, cpu: user + system, anonymous: peak.RssAnon, rollup: peak.rollup, ended })
    })
  })
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Columns lined up, numbers to the right. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows
    .map((row) =>
      row
        .map((cell, n) => (n === 0 ? cell.padEnd(widths[n]) : cell.padStart(widths[n])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
