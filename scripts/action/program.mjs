// The program that the action runs: from the registry at the action's own version, or from its sources.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))))

function npm(words, cwd) {
  const { status, error } = spawnSync('npm', words, { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
  if (error || status !== 0) throw new Error(`npm ${words[0]} failed`)
}

/** The file of the program. */
export function program(source, env) {
  if (source === 'checkout') {
    if (!existsSync(path.join(root, 'dist/src/index.js'))) {
      npm(['ci', '--no-audit', '--no-fund'], root)
      npm(['run', 'build'], root)
    }
    return path.join(root, 'bin/run.js')
  }
  if (source !== 'npm') throw new Error(`source must be npm or checkout, not ${JSON.stringify(source)}`)
  // A folder of its own: the pull request's .npmrc must not choose the registry.
  return installed(path.join(env.RUNNER_TEMP ?? os.tmpdir(), 'terge'))
}

/** The program of this version from the registry, in a subfolder of `folder`. Installs it if it is not there. */
export function installed(folder) {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  const own = path.join(folder, version)
  const file = path.join(own, 'node_modules/terge/bin/run.js')
  if (!existsSync(file)) {
    mkdirSync(own, { recursive: true })
    npm(['install', '--prefix', own, '--ignore-scripts', '--no-audit', '--no-fund', `terge@${version}`], own)
  }
  return file
}
