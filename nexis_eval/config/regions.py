"""The locales of glibc and the keyboard layouts of XKB, by name: those of the pinned tool sets that make them.

A list of our own, so that a configuration is judged the same on every machine, and before anything is built.
"""

from __future__ import annotations

import re
from functools import cache

from nexis_eval.config import errors
from nexis_eval.config.kinds import Kind, fail, quoted, wrong_type
from nexis_store.suggest import nearest

_LOCALES = """
aa_DJ aa_ER aa_ER@saaho aa_ET ab_GE af_ZA agr_PE ak_GH am_ET an_ES anp_IN ar_AE ar_BH ar_DZ ar_EG ar_IN ar_IQ ar_JO
ar_KW ar_LB ar_LY ar_MA ar_OM ar_QA ar_SA ar_SD ar_SS ar_SY ar_TN ar_YE as_IN ast_ES ayc_PE az_AZ az_IR be_BY
be_BY@latin bem_ZM ber_DZ ber_MA bg_BG bhb_IN bho_IN bho_NP bi_VU bn_BD bn_IN bo_CN bo_IN br_FR br_FR@euro brx_IN
bs_BA byn_ER ca_AD ca_ES ca_ES@euro ca_ES@valencia ca_FR ca_IT ce_RU chr_US ckb_IQ cmn_TW crh_UA cs_CZ csb_PL cv_RU
cy_GB da_DK de_AT de_AT@euro de_BE de_BE@euro de_CH de_DE de_DE@euro de_IT de_LI de_LU de_LU@euro doi_IN dsb_DE dv_MV
dz_BT el_CY el_GR el_GR@euro en_AG en_AU en_BW en_CA en_DK en_GB en_HK en_IE en_IE@euro en_IL en_IN en_NG en_NZ en_PH
en_SC en_SG en_US en_ZA en_ZM en_ZW eo es_AR es_BO es_CL es_CO es_CR es_CU es_DO es_EC es_ES es_ES@euro es_GT es_HN
es_MX es_NI es_PA es_PE es_PR es_PY es_SV es_US es_UY es_VE et_EE eu_ES eu_ES@euro eu_FR eu_FR@euro fa_IR ff_SN fi_FI
fi_FI@euro fil_PH fo_FO fr_BE fr_BE@euro fr_CA fr_CH fr_FR fr_FR@euro fr_LU fr_LU@euro fur_IT fy_DE fy_NL ga_IE
ga_IE@euro gd_GB gez_ER gez_ER@abegede gez_ET gez_ET@abegede gl_ES gl_ES@euro gu_IN gv_GB ha_NG hak_TW he_IL hi_IN
hif_FJ hne_IN hr_HR hsb_DE ht_HT hu_HU hy_AM ia_FR id_ID ig_NG ik_CA is_IS it_CH it_IT it_IT@euro iu_CA ja_JP ka_GE
kab_DZ kk_KZ kl_GL km_KH kn_IN ko_KR kok_IN ks_IN ks_IN@devanagari ku_TR kw_GB ky_KG lb_LU lg_UG li_BE li_NL lij_IT
ln_CD lo_LA lt_LT lv_LV lzh_TW mag_IN mai_IN mai_NP mfe_MU mg_MG mhr_RU mi_NZ miq_NI mjw_IN mk_MK ml_IN mn_MN mni_IN
mnw_MM mr_IN ms_MY mt_MT my_MM nan_TW nan_TW@latin nb_NO nds_DE nds_NL ne_NP nhn_MX niu_NU niu_NZ nl_AW nl_BE
nl_BE@euro nl_NL nl_NL@euro nn_NO nr_ZA nso_ZA oc_FR om_ET om_KE or_IN os_RU pa_IN pa_PK pap_AW pap_CW pl_PL ps_AF
pt_BR pt_PT pt_PT@euro quz_PE raj_IN rif_MA ro_RO ru_RU ru_UA rw_RW sa_IN sah_RU sat_IN sc_IT sd_IN sd_IN@devanagari
se_NO sgs_LT shn_MM shs_CA si_LK sid_ET sk_SK sl_SI sm_WS so_DJ so_ET so_KE so_SO sq_AL sq_MK sr_ME sr_RS sr_RS@latin
ss_ZA st_ZA sv_FI sv_FI@euro sv_SE sw_KE sw_TZ syr szl_PL ta_IN ta_LK tcy_IN te_IN tg_TJ th_TH the_NP ti_ER ti_ET
tig_ER tk_TM tl_PH tn_ZA to_TO tpi_PG tr_CY tr_TR ts_ZA tt_RU tt_RU@iqtelif ug_CN uk_UA unm_US ur_IN ur_PK uz_UZ
uz_UZ@cyrillic ve_ZA vi_VN wa_BE wa_BE@euro wae_CH wal_ET wo_SN xh_ZA yi_US yo_NG yue_HK yuw_PG zh_CN zh_HK zh_SG
zh_TW zu_ZA
"""
_CHARSETS = """
ARMSCII-8 BIG5 BIG5-HKSCS CP1251 CP1255 EUC-JP EUC-KR EUC-TW GB18030 GB2312 GBK GEORGIAN-PS ISO-8859-1 ISO-8859-10
ISO-8859-13 ISO-8859-14 ISO-8859-15 ISO-8859-2 ISO-8859-3 ISO-8859-5 ISO-8859-6 ISO-8859-7 ISO-8859-8 ISO-8859-9
KOI8-R KOI8-T KOI8-U PT154 RK1048 TIS-620 UTF-8
"""
_LAYOUTS = """
af(ps uz ps-olpc fa-olpc uz-olpc) al(plisi veqilharxhi) am(phonetic phonetic-alt eastern western eastern-alt)
ara(azerty azerty_digits digits qwerty qwerty_digits buckwalter olpc mac) at(nodeadkeys mac) au az(cyrillic)
ba(alternatequotes unicode unicodeus us) bd(probhat) be(oss oss_latin9 iso-alternate nodeadkeys wang) bg(phonetic
bas_phonetic bekl) br(nodeadkeys dvorak nativo nativo-us nativo-epo thinkpad) brai(left_hand left_hand_invert
right_hand right_hand_invert) bt bw by(legacy latin ru intl) ca(fr-dvorak fr-legacy multix multi multi-2gr ike eng) cd
ch(legacy de_nodeadkeys fr fr_nodeadkeys fr_mac de_mac) cm(french qwerty azerty dvorak mmuock) cn(mon_trad
mon_trad_todo mon_trad_xibe mon_trad_manchu mon_trad_galik mon_todo_galik mon_manchu_galik tib tib_asciinum ug
altgr-pinyin) cz(bksl qwerty qwerty_bksl qwerty-mac ucw dvorak-ucw rus) de(deadacute deadgraveacute nodeadkeys e1 e2
T3 us ro ro_nodeadkeys dvorak neo mac mac_nodeadkeys dsb dsb_qwertz qwerty tr ru deadtilde) dk(nodeadkeys winkeys mac
mac_nodeadkeys dvorak) dz(azerty-deadkeys qwerty-gb-deadkeys qwerty-us-deadkeys ber ar) ee(nodeadkeys dvorak us)
epo(legacy) es(nodeadkeys winkeys deadtilde dvorak ast cat mac) et fi(winkeys classic nodeadkeys smi mac)
fo(nodeadkeys) fr(nodeadkeys oss oss_latin9 oss_nodeadkeys latin9 latin9_nodeadkeys bepo bepo_latin9 bepo_afnor dvorak
mac azerty afnor bre oci geo us) gb(extd intl dvorak dvorakukp mac mac_intl colemak colemak_dh pl gla) ge(ergonomic
mess ru os) gh(generic akan ewe fula ga hausa avn gillbt) gn gr(simple extended nodeadkeys polytonic)
hr(alternatequotes unicode unicodeus us) hu(standard nodeadkeys qwerty 101_qwertz_comma_dead 101_qwertz_comma_nodead
101_qwertz_dot_dead 101_qwertz_dot_nodead 101_qwerty_comma_dead 101_qwerty_comma_nodead 101_qwerty_dot_dead
101_qwerty_dot_nodead 102_qwertz_comma_dead 102_qwertz_comma_nodead 102_qwertz_dot_dead 102_qwertz_dot_nodead
102_qwerty_comma_dead 102_qwerty_comma_nodead 102_qwerty_dot_dead 102_qwerty_dot_nodead) id(phonetic phoneticx)
ie(CloGaelach UnicodeExpert ogam ogam_is434) il(lyx phonetic biblical) in(ben ben_probhat ben_baishakhi ben_bornona
ben_gitanjali ben_inscript eeyek guj guru jhelum kan kan-kagapa mal mal_lalitha mal_enhanced ori ori-bolnagri ori-wx
olck tam_tamilnet tam_tamilnet_with_tam_nums tam_tamilnet_TAB tam_tamilnet_TSCII tam tel tel-kagapa tel-sarala
urd-phonetic urd-phonetic3 urd-winkeys bolnagri hin-wx hin-kagapa san-kagapa mar-kagapa eng iipa marathi) iq(ku ku_f
ku_alt ku_ara) ir(pes_keypad ku ku_f ku_alt ku_ara) is(mac_legacy mac dvorak) it(nodeadkeys winkeys mac us geo ibm
intl scn fur) jp(kana kana86 OADG109A mac dvorak) jv ke(kik) kg(phonetic) kh kr(kr104) kz(ruskaz kazrus ext latin)
la(stea) latam(nodeadkeys deadtilde dvorak colemak colemak-gaming) lk(tam_unicode tam_TAB us) lt(std us ibm lekp lekpa
sgs ratise) lv(apostrophe tilde fkey modern ergonomic adapted) ma(french tifinagh tifinagh-alt tifinagh-alt-phonetic
tifinagh-extended tifinagh-phonetic tifinagh-extended-phonetic rif) mao md(gag) me(cyrillic cyrillicyz latinunicode
latinyz latinunicodeyz cyrillicalternatequotes latinalternatequotes) mk(nodeadkeys) ml(fr-oss us-mac us-intl)
mm(zawgyi shn zgt mnw mnw-a1) mn mt(us alt-us alt-gb) mv my(phonetic) ng(igbo yoruba hausa) nl(us mac std)
no(nodeadkeys winkeys dvorak smi smi_nodeadkeys mac mac_nodeadkeys colemak) np ph(qwerty-bay capewell-dvorak
capewell-dvorak-bay capewell-qwerf2k6 capewell-qwerf2k6-bay colemak colemak-bay dvorak dvorak-bay) pk(urd-crulp
urd-nla ara snd) pl(legacy qwertz dvorak dvorak_quotes dvorak_altquotes csb szl ru_phonetic_dvorak dvp) pt(nodeadkeys
mac mac_nodeadkeys nativo nativo-us nativo-epo) ro(std winkeys) rs(yz latin latinunicode latinyz latinunicodeyz
alternatequotes latinalternatequotes rue) ru(phonetic phonetic_winkeys phonetic_YAZHERTY typewriter legacy
typewriter-legacy tt os_legacy os_winkeys cv cv_latin udm kom sah xal dos mac srp bak chm phonetic_azerty
phonetic_dvorak phonetic_fr) se(nodeadkeys dvorak rus rus_nodeadkeys smi mac svdvorak us_dvorak us swl)
si(alternatequotes us) sk(bksl qwerty qwerty_bksl) sn sy(syc syc_phonetic ku ku_f ku_alt) tg th(tis pat) tj(legacy)
tm(alt) tr(f alt ku ku_f ku_alt intl ot otf otk otkf) tw(indigenous saisiyat) tz ua(phonetic typewriter winkeys macOS
legacy rstu rstu_ru homophonic crh crh_f crh_alt) us(chr haw euro intl alt-intl colemak colemak_dh colemak_dh_iso
dvorak dvorak-intl dvorak-alt-intl dvorak-l dvorak-r dvorak-classic dvp dvorak-mac symbolic rus mac altgr-intl olpc2
hbs norman workman workman-intl) uz(latin) vn(us fr) za
"""
"""Each with its variants in parentheses."""
_IN_WORDS = """
af Dari; al Albanian; am Armenian; ara Arabic; at German (Austria); au English (Australian); az Azerbaijani; ba
Bosnian; bd Bangla; be Belgian; bg Bulgarian; br Portuguese (Brazil); brai Braille; bt Dzongkha; bw Tswana; by
Belarusian; ca French (Canada); cd French (Democratic Republic of the Congo); ch German (Switzerland); cm English
(Cameroon); cn Chinese; cz Czech; de German; dk Danish; dz Berber (Algeria, Latin); ee Estonian; epo Esperanto; es
Spanish; et Amharic; fi Finnish; fo Faroese; fr French; gb English (UK); ge Georgian; gh English (Ghana); gn N'Ko
(AZERTY); gr Greek; hr Croatian; hu Hungarian; id Indonesian (Latin); ie Irish; il Hebrew; in Indian; iq Iraqi; ir
Persian; is Icelandic; it Italian; jp Japanese; jv Indonesian (Javanese); ke Swahili (Kenya); kg Kyrgyz; kh Khmer
(Cambodia); kr Korean; kz Kazakh; la Lao; latam Spanish (Latin American); lk Sinhala (phonetic); lt Lithuanian; lv
Latvian; ma Arabic (Morocco); mao Maori; md Moldavian; me Montenegrin; mk Macedonian; ml Bambara; mm Burmese; mn
Mongolian; mt Maltese; mv Dhivehi; my Malay (Jawi, Arabic Keyboard); ng English (Nigeria); nl Dutch; no Norwegian; np
Nepali; ph Filipino; pk Urdu (Pakistan); pl Polish; pt Portuguese; ro Romanian; rs Serbian; ru Russian; se Swedish; si
Slovenian; sk Slovak; sn Wolof; sy Arabic (Syria); tg French (Togo); th Thai; tj Tajik; tm Turkmen; tr Turkish; tw
Taiwanese; tz Swahili (Tanzania); ua Ukrainian; us English (US); uz Uzbek; vn Vietnamese; za English (South Africa)
"""
"""What the layouts are called, for those who look for one by its language."""
_PLAIN = ("C", "POSIX", "C.UTF-8", "C.utf8")
_LOCALE = re.compile(r"([A-Za-z_]+)(?:\.([A-Za-z0-9-]+))?(@[a-z]+)?").fullmatch
_LAYOUT = re.compile(r"([A-Za-z0-9_]+)(?:[:(]([A-Za-z0-9_-]+)\)?)?").fullmatch


@cache
def locales() -> frozenset[str]:
    """Languages with countries and modifiers, without character sets."""
    return frozenset(_LOCALES.split())


@cache
def layouts() -> dict[str, tuple[str, ...]]:
    """The variants of each layout."""
    return {name: tuple(variants.split()) for name, variants in re.findall(r"(\w+)(?:\(([^)]*)\))?", _LAYOUTS)}


def _normal(charset: str) -> str:
    return re.sub("[^a-z0-9]", "", charset.lower())


def _locale(value: object, _directory: str) -> object:
    if value in _PLAIN:
        return value
    if type(value) is not str:
        wrong_type("a string (a locale)", value, 'such as "en_US.UTF-8"')
    parts = _LOCALE(value)
    if parts is None or ("_" not in value and parts[1] not in locales()):
        fail(errors.LocaleError, f"{quoted(value)} is not a locale", "such as en_US.UTF-8 or C.UTF-8")
    language, charset, modifier = parts[1], parts[2], parts[3] or ""
    if language + modifier not in locales():
        near = nearest(language + modifier, locales(), cutoff=0.5)
        guess = f"{near.partition('@')[0]}.UTF-8{''.join(near.partition('@')[1:])}" if near else ""
        hint = f"did you mean '{guess}'?" if near else "such as en_US.UTF-8 or C.UTF-8"
        fail(errors.LocaleError, f"glibc has no locale '{language}{modifier}'", hint)
    if charset is None:
        hint = f"did you mean '{language}.UTF-8{modifier}'?"
        fail(errors.LocaleError, f"the locale '{value}' does not say its character set", hint)
    charsets = {_normal(each): each for each in _CHARSETS.split()}
    if _normal(charset) not in charsets:
        near = nearest(charset.upper(), charsets.values()) or "UTF-8"
        hint = f"did you mean '{language}.{near}{modifier}'?"
        fail(errors.LocaleError, f"glibc has no locale of the character set '{charset}'", hint)
    return f"{language}.{charsets[_normal(charset)]}{modifier}"


def _keyboard(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string (a keyboard layout)", value, 'such as "us"')
    parts = _LAYOUT(value)
    if parts is None:
        fail(errors.KeyboardError, f"{quoted(value)} is not a keyboard layout", "such as us, de or fr(latin9)")
    layout, variant = parts[1], parts[2]
    if layout not in layouts():
        called = {name.lower(): code for code, name in re.findall(r"(\w+) ([^;\n]+)", _IN_WORDS)}
        near = nearest(layout.lower(), called)
        guess = called[near] if near else nearest(layout, layouts())
        hint = f"did you mean '{guess}'?" if guess else "such as us, de or fr(latin9)"
        fail(errors.KeyboardError, f"there is no keyboard layout '{layout}'", hint)
    if variant is not None and variant not in layouts()[layout]:
        near = nearest(variant, layouts()[layout])
        hint = f"did you mean '{layout}({near})'?" if near else f"variants: {', '.join(layouts()[layout])}"
        fail(errors.KeyboardError, f"the keyboard layout '{layout}' has no variant '{variant}'", hint)
    return value


_FORM = r"^(C(\.UTF-8|\.utf8)?|POSIX|[a-z]{2,3}(_[A-Z]{2})?\.[A-Za-z0-9-]+(@[a-z]+)?)$"
LOCALE = Kind("a locale", _locale, {"type": "string", "pattern": _FORM})
KEYBOARD = Kind("a keyboard layout", _keyboard, {"type": "string", "pattern": "^[A-Za-z0-9_():-]+$"})
