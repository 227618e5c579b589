/** The published package, unpacked beside its dependencies: its recipes run from another folder, and its links lead somewhere. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from './support/files.js'
import { pack, packedNames, root } from './support/packed.js'
import { plainEnv } from './support/terge.js'

interface Locked {
  readonly dev?: boolean
  readonly optional?: boolean
}

/** Unpacks the package as an installer does, with links to what it depends on. */
function install(folder: string, { optional }: { readonly optional: boolean }): string {
  const modules = path.join(folder, 'node_modules')
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'))
  for (const [name, { dev, optional: isOptional }] of Object.entries(packages as Record<string, Locked>)) {
    const from = path.join(root, name)
    const nested = name.lastIndexOf('node_modules/') > 0
    if (name === '' || nested || dev || (isOptional && !optional) || !existsSync(from)) continue
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    // On Windows, junctions need no rights.
    symlinkSync(from, path.join(folder, name), 'junction')
  }
  execFileSync('tar', ['-xzf', path.basename(pack(folder))], { cwd: folder })
  cpSync(path.join(folder, 'package'), path.join(modules, 'terge'), { recursive: true })
  return path.join(modules, 'terge')
}

/** Reports each load of a native module. */
const REPORT = `import Module from 'node:module'
  const load = Module._load
  Module._load = function (request, ...rest) {
    if (request.startsWith('@koromix/')) process.stderr.write('maps files\\n')
    return load.call(this, request, ...rest)
  }`

for (const optional of [true, false])
  test(`its recipes run from another folder, ${optional ? 'mapping files' : 'reading them without the optional packages'}`, () =>
    inFolder(async (folder) => {
      const terge = install(folder, { optional })
      const elsewhere = path.join(folder, 'elsewhere')
      mkdirSync(elsewhere)
      let told = ''
      const node = (words: readonly string[], env: NodeJS.ProcessEnv = {}): string => {
        const options = { cwd: elsewhere, encoding: 'utf8' as const, env: { ...plainEnv, ...env } }
        const { status, stdout, stderr } = spawnSync(process.execPath, words, options)
        assert.is(status, 0, stderr)
        told += stderr
        return stdout
      }
      const bin = path.join(terge, 'bin/run.js')
      const recipes = path.join(terge, 'recipes/quickstart')
      const run = (name: string, env: NodeJS.ProcessEnv = {}): string =>
        node([bin, 'run', path.join(recipes, name), '--allow-commands', '--force', '--threads', '1'], env)
      const options = `--import=data:text/javascript,${encodeURIComponent(REPORT)}`
      if (optional) for (const name of ['average.yml', 'rebasin.yml']) assert.match(run(name), /8 tensors/)
      assert.match(run('ties.yml', { TERGE_IO: 'map', NODE_OPTIONS: options }), /python 4\.35/)
      if (process.platform === 'linux') assert.is(told.includes('maps files'), true)
      assert.match(
        node([bin, 'verify', path.join(recipes, 'out/both/lineage.json'), '--recipe-folder', recipes]),
        /unchanged/,
      )
      if (!optional) return
      writeFileSync(path.join(folder, 'program.mjs'), "import { run } from 'terge'\nconsole.log(typeof run)\n")
      assert.is(node([path.join(folder, 'program.mjs')]), 'function\n')
    }))

test('links in its pages are absolute or lead to a file in it', () => {
  const names = packedNames()
  const pages = names.filter((name) => name.endsWith('.md'))
  assert.ok(pages.length > 10)
  const broken = pages.flatMap((page) =>
    [
      ...readFileSync(path.join(root, page), 'utf8').matchAll(
        /\]\((?!https?:)([^)#\s]+)[^)]*\)|\bsrc="(?!https?:)([^"]+)"/g,
      ),
    ]
      .map(([, link, image]) => path.posix.join(path.posix.dirname(page), link ?? image!).replace(/\/$/, ''))
      .filter((target) => !names.some((name) => name === target || name.startsWith(`${target}/`)))
      .map((target) => `${page}: ${target}`),
  )
  assert.equal(broken, [])
})

test.run()
