/* boot2_crc FIRMWARE.elf: run on the host after linking. Puts the CRC that RP2040's boot ROM asks
 * for behind the 252 bytes of the second-stage boot loader (RP2040 datasheet, section 2.8.1.3.1:
 * polynomial 0x04C11DB7, starting from ones, nothing reflected or inverted). */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BOOT2_AT 0x10000000u
#define CODE_SIZE 252
#define LOAD 1u

static uint32_t load32(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t crc_of(const uint8_t *bytes) {
    uint32_t crc = UINT32_MAX;
    for (int i = 0; i < CODE_SIZE; i++) {
        crc ^= (uint32_t)bytes[i] << 24;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc << 1 ^ (crc & 0x80000000u ? 0x04C11DB7u : 0);
        }
    }
    return crc;
}

/* Offset in a 32-bit little-endian ELF file of what is loaded at BOOT2_AT; 0 when nothing is. */
static uint32_t find_boot2(FILE *file) {
    uint8_t head[52];
    uint8_t entry[32];
    if (fread(head, sizeof head, 1, file) != 1 || memcmp(head, "\177ELF\1\1", 6) != 0) {
        return 0;
    }
    const uint32_t count = head[44] | (uint32_t)head[45] << 8;
    for (uint32_t i = 0; i < count; i++) {
        const long at = (long)(load32(head + 28) + 32 * i);
        if (fseek(file, at, SEEK_SET) != 0 || fread(entry, sizeof entry, 1, file) != 1) {
            return 0;
        }
        if (load32(entry) == LOAD && load32(entry + 12) == BOOT2_AT &&
            load32(entry + 16) >= CODE_SIZE + 4) {
            return load32(entry + 4);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    uint8_t bytes[CODE_SIZE + 4];
    FILE *file = argc == 2 ? fopen(argv[1], "r+b") : NULL;
    const uint32_t at = file == NULL ? 0 : find_boot2(file);
    if (at == 0 || fseek(file, (long)at, SEEK_SET) != 0 || fread(bytes, CODE_SIZE, 1, file) != 1) {
        fprintf(stderr, "boot2_crc: error: no second-stage boot loader in the firmware\n");
        return 1;
    }
    const uint32_t crc = crc_of(bytes);
    for (int i = 0; i < 4; i++) {
        bytes[CODE_SIZE + i] = (uint8_t)(crc >> 8 * i);
    }
    if (fseek(file, (long)at, SEEK_SET) != 0 || fwrite(bytes, sizeof bytes, 1, file) != 1 ||
        fclose(file) != 0) {
        fprintf(stderr, "boot2_crc: error: the firmware cannot be written\n");
        return 1;
    }
    return 0;
}
