/** A folder with small files that a recipe gives for a model without them: a pipeline of diffusers, with or without weights. */
import { isUtf8 } from 'node:buffer'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { isIndex } from '../../checkpoints/containers/index.js'
import { modulesOf } from '../../checkpoints/modules.js'
import { isCode, isSmallFile } from '../../checkpoints/sidecarNames.js'
import { readSidecar } from '../../checkpoints/sidecars.js'
import type { GivenFiles } from '../../checkpoints/types.js'
import { boundsOf } from '../../storage/local/regular.js'

/** In bytes. Texts are part of the plan. */
const MOST_TEXT = 2 ** 23

/** Reads the small files of a folder and of its modules. Errors: those of `modulesOf` and `readSidecar`. */
export async function givenFolder(folder: string, shown: string): Promise<GivenFiles> {
  const names = await readdir(folder)
  const modules = await modulesOf(folder, names, shown, await boundsOf(folder))
  const texts = new Map<string, string>()
  const skipped: string[] = []
  for (const module of ['', ...(modules?.names ?? []).filter((name) => name !== '')]) {
    const inside = module === '' ? names : await readdir(path.join(folder, module)).catch(() => [])
    for (const name of inside.filter(isGiven).sort()) {
      const own = module === '' ? name : `${module}/${name}`
      const bytes = await readSidecar(folder, own, `${shown}/${own}`)
      if (bytes.length <= MOST_TEXT && isUtf8(bytes) && !bytes.includes(0)) texts.set(own, bytes.toString('utf8'))
      else skipped.push(own)
    }
  }
  return { reference: shown, texts, skipped }
}

const isGiven = (name: string): boolean => isSmallFile(name) && !isIndex(name) && !isCode(name)
