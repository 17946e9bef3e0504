// node rp2040_machine.cjs RP2040JS FIRMWARE.bin: an emulated RP2040 that runs the firmware, with
// UART0 on a TCP port, which is printed. The chip's boot ROM cannot be had here; what it does for us
// is done below as its datasheet (2.7, 2.8) says, and more strictly: it boots only a second stage
// whose CRC is right, and flash cannot be read from when the ROM took it until the second stage has
// set up the SSI again. A breach ends the process with a message.
const fs = require('fs');
const net = require('net');
const path = require('path');

const [, , folder, image] = process.argv;
const { RP2040 } = require(path.join(folder, 'dist/cjs/index.js'));

const FLASH = 0x10000000;
const BOOT2_AT = 0x20041f00;
const SECTOR = 4096;
const PAGE = 256;
const STUBS = 0x100; // one stub of 4 bytes per ROM function: bkpt #number, bx lr
const NAMES = ['lookup', 'IF', 'EX', 'RE', 'RP', 'FC'];

const chip = new RP2040();
chip.logger = { debug() {}, info() {}, warn: complain, error: complain };
chip.flash.fill(0xff);
chip.flash.set(fs.readFileSync(image));
let readable = false; // flash in place
let connected = false;

function complain(where, text) {
  process.stderr.write(`${where}: ${text}\n`);
}

function die(text) {
  process.stderr.write(`breach: ${text}, pc ${chip.core.PC.toString(16)}\n`);
  process.exit(1);
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) value = (value << 1) ^ (value & 0x80000000 ? 0x04c11db7 : 0);
  }
  return value >>> 0;
}

function boot() {
  const boot2 = chip.flash.subarray(0, 256);
  const said = new DataView(boot2.buffer, boot2.byteOffset).getUint32(252, true);
  if (crc(boot2.subarray(0, 252)) !== said) die('the second stage has a wrong CRC');
  readable = false;
  connected = false;
  chip.sram.set(boot2, BOOT2_AT - 0x20000000);
  chip.core.VTOR = 0;
  chip.core.enabledInterrupts = 0;
  chip.core.SP = 0x20042000;
  chip.core.LR = 0;
  chip.core.PC = BOOT2_AT;
}

function act(number) {
  const [a, b, c] = chip.core.registers;
  const name = NAMES[number];
  if (name === 'lookup') {
    const wanted = String.fromCharCode(b & 0xff, b >> 8);
    const index = NAMES.indexOf(wanted);
    chip.core.registers[0] = index < 0 ? 0 : (STUBS + 4 * index) | 1;
    return;
  }
  if (name === 'IF') connected = true;
  if (name === 'EX') {
    if (!connected) die('left XIP unconnected');
    readable = false;
  }
  if (name === 'RE' || name === 'RP') {
    if (readable || !connected) die('flash changed while it is read in place');
    if (name === 'RE') {
      if (a % SECTOR || b % SECTOR) die(`erases ${b} at ${a}`);
      chip.flash.fill(0xff, a, a + b);
    } else {
      if (a % PAGE || c % PAGE || b < 0x20000000) die(`programs ${c} at ${a} from ${b}`);
      for (let i = 0; i < c; i++) chip.flash[a + i] &= chip.sram[b - 0x20000000 + i];
    }
  }
}

const view = new DataView(new ArrayBuffer(STUBS + 4 * NAMES.length));
view.setUint16(0x14, 0, true);
view.setUint16(0x18, STUBS | 1, true);
NAMES.forEach((_, i) => {
  view.setUint16(STUBS + 4 * i, 0xbe00 | i, true);
  view.setUint16(STUBS + 4 * i + 2, 0x4770, true);
});
for (let at = 0; at < view.byteLength; at += 4) chip.bootrom[at / 4] = view.getUint32(at, true);
chip.onBreak = act;

for (const name of ['readUint8', 'readUint16', 'readUint32']) {
  const plain = chip[name].bind(chip);
  chip[name] = (address) => {
    if (!readable && address >>> 28 === 1 && address >>> 24 < 0x14) die(`read of ${address.toString(16)}`);
    return plain(address);
  };
}
const ssi = chip.peripherals[0x18000];
const writeSsi = ssi.writeUint32.bind(ssi);
ssi.writeUint32 = (offset, value) => {
  writeSsi(offset, value);
  // Serial read command 03h, 24-bit address, 32-bit frames: what reads any flash in place.
  if (offset === 8) {
    readable = value === 1 && ssi.spictlr0 === 0x03000218 && ssi.crtlr0 === 0x1f0300;
    connected = false;
  }
};
const writePpb = chip.ppb.writeUint32.bind(chip.ppb);
let resets = false;
chip.ppb.writeUint32 = (offset, value) => {
  if (offset === 0xd0c && value >>> 0 === 0x05fa0004) resets = true;
  else writePpb(offset, value);
};

let line = null;
const incoming = [];
chip.uart[0].onByte = (byte) => line && line.write(Buffer.from([byte]));

const NANOS = 8;
const BYTE_NANOS = 86806; // 10 bits at 115200 baud
let free = 0; // when the line is
function run() {
  for (let i = 0; i < 200000; i++) {
    chip.clock.tick(chip.core.executeInstruction() * NANOS);
    if (resets) {
      resets = false;
      boot();
    }
    if (incoming.length && chip.clock.nanos >= free) {
      free = chip.clock.nanos + BYTE_NANOS;
      const byte = incoming.shift();
      if (!chip.uart[0].rxFIFO.full) chip.uart[0].feedByte(byte); // else it is lost
    }
  }
  setImmediate(run);
}

const server = net.createServer({ noDelay: true }, (socket) => {
  line = socket;
  socket.on('data', (data) => incoming.push(...data));
  socket.on('close', () => process.exit(0));
  boot();
  run();
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
