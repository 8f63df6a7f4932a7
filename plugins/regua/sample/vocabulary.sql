-- Words the sample is made of. E-mail domains are the ones RFC 2606 reserves: no message can reach anybody.
set variable first_names = [
    'Adriana', 'Aline', 'Ana', 'André', 'Antônio', 'Beatriz', 'Bruno', 'Caio', 'Camila', 'Carlos', 'Cecília', 'Cláudia',
    'Daniel', 'Débora', 'Diego', 'Eduardo', 'Elaine', 'Fábio', 'Fernanda', 'Francisco', 'Gabriel', 'Gustavo', 'Helena',
    'Inês', 'Isabela', 'João', 'Joana', 'José', 'Júlia', 'Larissa', 'Letícia', 'Lucas', 'Luís', 'Marcelo', 'Márcia',
    'Maria', 'Mariana', 'Mateus', 'Natália', 'Otávio', 'Patrícia', 'Paulo', 'Pedro', 'Rafael', 'Renata', 'Ricardo',
    'Rodrigo', 'Rosângela', 'Sandra', 'Sérgio', 'Sílvia', 'Simone', 'Tatiana', 'Thiago', 'Valéria', 'Vinícius', 'Vítor',
    'Viviane', 'Wagner', 'Yara'
];
set variable last_names = [
    'Almeida', 'Alves', 'Amaral', 'Andrade', 'Araújo', 'Assunção', 'Azevedo', 'Barbosa', 'Barros', 'Batista', 'Brandão',
    'Campos', 'Cardoso', 'Carvalho', 'Castro', 'Conceição', 'Costa', 'Cunha', 'Dias', 'Duarte', 'Farias', 'Fernandes',
    'Ferreira', 'Figueiredo', 'Freitas', 'Gomes', 'Gonçalves', 'Guimarães', 'Leite', 'Lima', 'Lopes', 'Macedo', 'Machado',
    'Magalhães', 'Marques', 'Martins', 'Melo', 'Mendes', 'Monteiro', 'Moraes', 'Moreira', 'Moura', 'Nascimento', 'Nogueira',
    'Nunes', 'Oliveira', 'Pereira', 'Pinto', 'Queiroz', 'Ramos', 'Reis', 'Ribeiro', 'Rocha', 'Rodrigues', 'Santana',
    'Santos', 'Silva', 'Siqueira', 'Souza', 'Teixeira', 'Vasconcelos', 'Vieira'
];
set variable trades = [
    'Academia', 'Açougue', 'Agência', 'Auto Peças', 'Autoescola', 'Clínica', 'Colégio', 'Confecções', 'Construtora',
    'Consultoria', 'Contabilidade', 'Distribuidora', 'Editora', 'Escritório', 'Estética', 'Farmácia', 'Gráfica', 'Hotel',
    'Imobiliária', 'Indústria', 'Laboratório', 'Lavanderia', 'Livraria', 'Locadora', 'Marcenaria', 'Mercado', 'Metalúrgica',
    'Oficina', 'Ótica', 'Padaria', 'Papelaria', 'Pet Shop', 'Pousada', 'Restaurante', 'Transportes', 'Veterinária'
];
set variable company_words = [
    'Aliança', 'Alvorada', 'Andorinha', 'Araucária', 'Atlântico', 'Aurora', 'Bandeirante', 'Bela Vista', 'Boa Esperança',
    'Bom Jardim', 'Cachoeira', 'Capivara', 'Central', 'Cerrado', 'Colibri', 'Cristal', 'Diamante', 'Dois Irmãos', 'Estação',
    'Estrela', 'Flor de Lis', 'Girassol', 'Guarani', 'Harmonia', 'Horizonte', 'Ideal', 'Ipê', 'Jacarandá', 'Jatobá',
    'Lagoa', 'Litoral', 'Mantiqueira', 'Mirante', 'Nova Era', 'Oriente', 'Paineira', 'Pantanal', 'Pioneira', 'Planalto',
    'Primavera', 'Real', 'Sabiá', 'Santa Luzia', 'Santo Antônio', 'São Bento', 'São Jorge', 'Serra Azul', 'Tropical',
    'União', 'Vale Verde', 'Vitória'
];
set variable company_forms = ['LTDA', 'LTDA', 'LTDA', 'LTDA ME', 'LTDA EPP', 'S.A.', 'EIRELI'];
set variable mail_domains = ['example.com', 'example.net', 'example.org'];

-- Shares of customers by state, per ten thousand; the first area code stands for the state.
create table states as
select
    state_code,
    area_code,
    sum(share) over (order by position) - share as from_share,
    sum(share) over (order by position) as to_share
from (
    values
    (1, 'SP', '11', 3000), (2, 'MG', '31', 1050), (3, 'RJ', '21', 1000), (4, 'PR', '41', 720), (5, 'RS', '51', 700),
    (6, 'SC', '48', 600), (7, 'BA', '71', 480), (8, 'GO', '62', 380), (9, 'PE', '81', 340), (10, 'DF', '61', 320),
    (11, 'CE', '85', 310), (12, 'ES', '27', 230), (13, 'MT', '65', 160), (14, 'PA', '91', 160), (15, 'MS', '67', 130),
    (16, 'AM', '92', 90), (17, 'PB', '83', 80), (18, 'RN', '84', 70), (19, 'MA', '98', 60), (20, 'AL', '82', 40),
    (21, 'PI', '86', 25), (22, 'SE', '79', 20), (23, 'RO', '69', 15), (24, 'TO', '63', 8), (25, 'AC', '68', 5),
    (26, 'AP', '96', 4), (27, 'RR', '95', 3)
) as listed (position, state_code, area_code, share);

create table state_capitals (state_code varchar, city varchar);
insert into state_capitals values
('AC', 'Rio Branco'), ('AL', 'Maceió'), ('AM', 'Manaus'), ('AP', 'Macapá'), ('BA', 'Salvador'), ('CE', 'Fortaleza'),
('DF', 'Brasília'), ('ES', 'Vitória'), ('GO', 'Goiânia'), ('MA', 'São Luís'), ('MG', 'Belo Horizonte'),
('MS', 'Campo Grande'), ('MT', 'Cuiabá'), ('PA', 'Belém'), ('PB', 'João Pessoa'), ('PE', 'Recife'), ('PI', 'Teresina'),
('PR', 'Curitiba'), ('RJ', 'Rio de Janeiro'), ('RN', 'Natal'), ('RO', 'Porto Velho'), ('RR', 'Boa Vista'),
('RS', 'Porto Alegre'), ('SC', 'Florianópolis'), ('SE', 'Aracaju'), ('SP', 'São Paulo'), ('TO', 'Palmas');

create table plans (plan_code varchar, person_type_code varchar, segment_code varchar, monthly_cents bigint, choice bigint);
insert into plans values
('ESSENCIAL', 'F', 'varejo', 4990, 0), ('PLUS', 'F', 'varejo', 8990, 1), ('FAMILIA', 'F', 'varejo', 12990, 2),
('PRO', 'J', 'pme', 18990, 0), ('PRO', 'J', 'pme', 18990, 1), ('EQUIPE', 'J', 'pme', 38990, 2),
('NEGOCIOS', 'J', 'medio', 129000, 0), ('NEGOCIOS', 'J', 'medio', 149000, 1), ('NEGOCIOS', 'J', 'medio', 219000, 2),
('CORPORATIVO', 'J', 'corporativo', 489000, 0), ('CORPORATIVO', 'J', 'corporativo', 789000, 1),
('CORPORATIVO', 'J', 'corporativo', 1250000, 2);
