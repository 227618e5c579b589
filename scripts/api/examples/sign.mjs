import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { plan, run, sign, verify } from 'terge'

const prepared = await plan('average.yml', { output: 'out/signed.safetensors' })
await run(prepared, { threads: 1 })
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
writeFileSync('out/key.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }))
writeFileSync('out/key.pub.pem', publicKey.export({ type: 'spki', format: 'pem' }))
const { path, text, files } = await sign('out/signed.safetensors', { key: 'out/key.pem' })
writeFileSync(path, text)
const { signed } = await verify('out/signed.safetensors', { key: 'out/key.pub.pem', recipeFolder: '.' })
console.log(path, files, signed)
