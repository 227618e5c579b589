/** Hints for files that PyTorch would not write. */
export const DAMAGED = 'the file is damaged or incomplete: download it again, or save it again with torch.save'
export const HARMFUL = 'no real model needs this: the file is damaged or malicious'
